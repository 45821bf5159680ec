"""The figures of a sample, and certificates: issued, read, checked, handed out, never edited."""

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import get_valid_filename
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from evaluation import certifying, figures, judges, labelling, wording
from evaluation.models import Certificate, Sample
from opsdesk.admin import ReadOnlyAdmin
from opsdesk.errors import BoundaryError

MOST = 20  # parts that are compared


@admin.register(Certificate)
class CertificateAdmin(ReadOnlyAdmin):
    """What was proved; each on a page of its own."""

    list_display = ["__str__", "about", "verdict", "issued_at", "by"]
    list_select_related = ["by"]
    list_filter = ["issued_at"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("evaluation.delete_certificate")

    @admin.display(description=gettext_lazy("about"))
    def about(self, certificate: Certificate) -> str:
        return wording.claim(certificate) if certifying.untouched(certificate) else "–"

    @admin.display(description=gettext_lazy("verdict"))
    def verdict(self, certificate: Certificate) -> str:
        if not certifying.untouched(certificate):
            return _("The record was changed: it does not bear its signature.")
        return str(wording.FINDINGS[certificate.record["finding"]])

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("sample/<int:pk>/", view(self.figures_view), name="evaluation_sample_figures"),
            path("sample/<int:pk>/issue/", view(self.issue_view), name="evaluation_sample_issue"),
            path(
                "<int:pk>/certificate.<str:kind>",
                view(self.export_view),
                name="evaluation_certificate_file",
            ),
            *super().get_urls(),
        ]

    # --- figures of a sample ---
    def figures_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """By `?by=` told apart."""
        sample = _sample(request, pk)
        settled = labelling.settled(sample)
        made = figures.of(sample)
        found = certifying.outcomes(made, certifying.goals())
        axis = request.GET.get("by", "base")
        if axis not in figures.AXES:
            raise Http404
        parts = figures.by(sample, axis, settled)
        judged = judges.of(sample, settled)
        plain = asdict(made)
        context = {
            "sample": sample,
            "made": made,
            "sections": [
                wording.against(
                    [asdict(one) for one in found], figures.disputes(figures.sheet(sample, settled))
                ),
                wording.table(plain, sample.k),
            ],
            "labelled": wording.labelled(plain),
            "chart": wording.chart(plain, _("Figures with their intervals")),
            "axes": figures.AXES,
            "axis": axis,
            "parts": parts[:MOST],
            "more_parts": max(len(parts) - MOST, 0),
            "rows": [_row(part) for part in parts[:MOST]],
            "compared": wording.compared(
                parts[:MOST],
                _("Accuracy and recall by %(axis)s") % {"axis": figures.AXES[axis]},
                str(figures.AXES[axis]),
            ),
            "judged": judged,
            "judge": wording.judge({"judge": judged.judge}),
            "judges": [_judged(name, getattr(judged, name)) for name in wording.JUDGED],
            "may_issue": request.user.has_perm("evaluation.issue_certificate"),
            "certificates": sample.certificates.select_related("by")[:MOST],
        }
        title = _("Figures: %(sample)s") % {"sample": sample}
        return self._page(request, "figures", title, context)

    @staticmethod
    @require_POST
    def issue_view(request: HttpRequest, pk: int) -> HttpResponse:
        sample = _sample(request, pk)
        try:
            certificate = certifying.issue(sample, request.user)
        except ValidationError as refused:
            messages.error(request, " ".join(refused.messages))
            return redirect("admin:evaluation_sample_figures", pk)
        messages.success(request, _("The certificate is issued. It never changes any more."))
        return redirect("admin:evaluation_certificate_change", certificate.pk)

    # --- a certificate ---
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        certificate = self.get_object(request, object_id)
        if certificate is None:
            raise Http404
        if not self.has_view_permission(request, certificate):
            raise PermissionDenied
        context: dict[str, Any] = {"check": certifying.check(certificate)}
        if context["check"].untouched:  # else it may hold anything
            record = certificate.record
            context |= {
                "certificate": certificate,
                "finding": record["finding"],
                "said": wording.FINDINGS[record["finding"]],
                "claim": wording.claim(certificate),
                "issued": wording.moment(record["issued"]),
                "sections": wording.sections(certificate),
                "chart": wording.chart(record["figures"], _("Figures with their intervals")),
                "languages": wording.LANGUAGES,
            }
        return self._page(request, "certificate", str(certificate), context)

    @staticmethod
    @require_safe
    def export_view(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
        if not request.user.has_perm("evaluation.view_certificate"):
            raise PermissionDenied
        from evaluation import exports  # what sets pages takes a second to import

        certificate = get_object_or_404(Certificate, pk=pk)
        if kind not in exports.KINDS:
            raise Http404
        language = request.GET.get("language", get_language() or wording.LANGUAGES[0])
        if language not in wording.LANGUAGES:
            language = wording.LANGUAGES[0]
        try:
            body = exports.export(certificate, kind, language)
        except BoundaryError as error:
            messages.error(request, str(error))
            return redirect("admin:evaluation_certificate_change", pk)
        name = get_valid_filename(f"{certificate} {certificate.issued_at:%Y-%m-%d}.{kind}")
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
        return HttpResponse(body, content_type=exports.KINDS[kind][1], headers=headers)

    def _page(
        self, request: HttpRequest, name: str, title: str, context: dict[str, Any]
    ) -> HttpResponse:
        base = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return TemplateResponse(
            request, f"admin/evaluation/certificate/{name}.html", {**base, **context}
        )


def _sample(request: HttpRequest, pk: int) -> Sample:
    """Of any base: figures name topics and documents of all that were drawn from."""
    if not request.user.has_perm("evaluation.view_sample"):
        raise PermissionDenied
    return get_object_or_404(Sample, pk=pk)


def _row(part: figures.Part) -> dict[str, Any]:
    made = part.figures
    accuracy, recall = asdict(made.accuracy), asdict(made.recall)
    return {
        "label": part.label,
        "items": made.items,
        "settled": made.settled,
        "cells": [
            (wording.percent(one["value"]), wording.interval(one)) for one in (accuracy, recall)
        ],
    }


def _judged(name: str, checked: judges.Checked) -> dict[str, Any]:
    estimate, agreement = asdict(checked.estimate), asdict(checked.agreement)
    return {
        "label": wording.JUDGED[name],
        "enough": checked.enough,
        "lacking": judges.FEWEST - checked.agreement.n,
        "value": wording.percent(estimate["value"]),
        "interval": wording.interval(estimate),
        "agreed": wording.agreed(agreement),
    }
