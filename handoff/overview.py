"""What a supervisor sees: who waits and how long, who is there and has what, how today went."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from django.db.models import Avg, Count, F, Q, QuerySet
from django.utils import timezone

from handoff import access, hours
from handoff.clocks import Clocks
from handoff.models import Agent, Handoff, HandoffQuerySet, Satisfaction, Team
from handoff.queues import AT_RISK, standing

LISTED = 100  # of those who wait; the counts are of all
Status = Handoff.Status


def led_by(user: Any) -> QuerySet[Team]:
    """The teams that `user` supervises."""
    if user.is_superuser:
        return Team.objects.all()
    return Team.objects.filter(memberships__agent__user=user, memberships__leads=True).distinct()


def may_see(user: Any) -> bool:
    return access.may_serve(user) and (user.is_superuser or led_by(user).exists())


def supervises(user: Any, agent: Agent) -> bool:
    """Whether `agent` is in a team that `user` leads."""
    return user.is_superuser or agent.teams.filter(pk__in=led_by(user).values("pk")).exists()


def picture(user: Any) -> dict[str, Any]:
    """{"teams", "waiting", "agents", "today"}: all that is with the teams of `user`. Times are
    ISO, `left` of a promise seconds of business hours."""
    teams = list(led_by(user).select_related("calendar"))
    open_ = _theirs(user).unfinished()
    rows = open_.select_related(
        "team__calendar", "conversation__owner__agent", "offered_to__agent"
    ).longest_first()
    clocks = Clocks()
    told = [(handoff, clocks.of(handoff)) for handoff in rows]
    waits = [one for one in told if one[0].status in (Status.WAITING, Status.OFFERED)]
    held: dict[int | None, list[Any]] = defaultdict(list)
    for handoff, timers in told:
        if holder := handoff.conversation.owner_id or handoff.offered_to_id:
            held[holder].append(standing(handoff.conversation, handoff, timers))
    return {
        "teams": _teams(user, teams, told, clocks.now),
        "waiting": [standing(one.conversation, one, timers) for one, timers in waits[:LISTED]],
        "agents": _agents(user, held),
        "today": _today(user),
    }


def _theirs(user: Any) -> HandoffQuerySet:
    found = Handoff.objects.all()
    return found if user.is_superuser else found.filter(team__in=led_by(user).values("pk"))


def _teams(
    user: Any, teams: Iterable[Team], told: list[tuple[Handoff, Any]], now: datetime
) -> list[dict[str, Any]]:
    """A row for each team; for superusers one more for what is with none."""
    of: dict[int | None, list[tuple[Handoff, Any]]] = defaultdict(list)
    for handoff, timers in told:
        of[handoff.team_id].append((handoff, timers))
    rows = [
        _team(team.pk, team.name, of[team.pk], now)
        | {"opens": _opens(team, now), "agents": _present(Agent.objects.filter(teams=team))}
        for team in teams
    ]
    if user.is_superuser and (of[None] or not rows):
        rows.append(
            _team(None, "", of[None], now)
            | {"opens": None, "agents": _present(Agent.objects.all())}
        )
    return rows


def _opens(team: Team, now: datetime) -> str | None:
    """When people are back; None while they are there."""
    opening = hours.opening(team.calendar, now)
    return opening.isoformat() if opening and opening != now else None


def _present(agents: Any) -> dict[str, int]:
    """How many could take something, and how many there are."""
    return {"there": agents.available().count(), "all": agents.count()}


def _team(
    pk: int | None, name: str, told: list[tuple[Handoff, Any]], now: datetime
) -> dict[str, Any]:
    waiting = [one for one, _ in told if one.status in (Status.WAITING, Status.OFFERED)]
    running = [
        timers[0].left for one, timers in told if timers and not one.paused_at
    ]  # the nearer promise of each
    return {
        "id": pk,
        "name": name,
        "waiting": len(waiting),
        "taken": len(told) - len(waiting),
        "snoozed": sum(bool(one.snoozed_until and one.snoozed_until > now) for one, _ in told),
        "longest": min((one.requested_at for one in waiting), default=now).isoformat()
        if waiting
        else None,
        "broken": sum(left < timedelta() for left in running),
        "at_risk": sum(timedelta() <= left < AT_RISK for left in running),
    }


def _agents(user: Any, held: dict[int | None, list[Any]]) -> list[dict[str, Any]]:
    """Who is there first; the busiest of them on top."""
    agents = Agent.objects.filter(user__is_active=True).select_related("user")
    if not user.is_superuser:
        agents = agents.filter(teams__in=led_by(user)).distinct()
    there = set(agents.available().values_list("pk", flat=True))
    rows = [
        {
            "id": agent.user_id,
            "name": str(agent),
            "teams": [team.name for team in agent.teams.all()],
            "on_duty": agent.on_duty,
            "there": agent.pk in there,
            "seen_at": agent.seen_at.isoformat() if agent.seen_at else None,
            "load": agent.load,
            "capacity": agent.capacity,
            "holds": held[agent.user_id],
        }
        for agent in agents.prefetch_related("teams")
    ]
    return sorted(rows, key=lambda row: (not row["there"], not row["on_duty"], -row["load"]))


def _today(user: Any) -> dict[str, Any]:
    """Since midnight: how many were called for, taken and settled; minutes that they waited, the
    share of first answers in time, and what customers said."""
    since = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    theirs = _theirs(user)
    counts = theirs.aggregate(
        called=Count("pk", filter=Q(requested_at__gte=since)),
        taken=Count("pk", filter=Q(taken_at__gte=since)),
        resolved=Count("pk", filter=Q(status=Status.RESOLVED, closed_at__gte=since)),
        returned=Count("pk", filter=Q(status=Status.RETURNED, closed_at__gte=since)),
    )
    taken = theirs.filter(taken_at__gte=since).exclude(reason=Handoff.Reason.TAKEN_OVER)
    times = taken.values_list("taken_at", "requested_at")
    waited = [(at - asked).total_seconds() / 60 for at, asked in times if at]
    promised = theirs.filter(replied_at__gte=since, first_due__isnull=False)
    said = Satisfaction.objects.filter(handoff__in=theirs, rated_at__gte=since)
    rated = said.aggregate(score=Avg("score"), n=Count("pk"))
    return counts | {
        "waited": round(median(waited), 1) if waited else None,
        "longest": round(max(waited), 1) if waited else None,
        "promised": promised.count(),
        "kept": promised.filter(replied_at__lte=F("first_due")).count(),
        "score": round(rated["score"], 1) if rated["n"] else None,
        "rated": rated["n"],
    }
