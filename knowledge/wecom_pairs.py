"""Messages → threads → questions with an answer that helped. Pure, and by rules alone.

A pair needs three things: someone asks, someone else says something of substance, and the
one who asked says that it worked or gives thanks. It is a draft for a person, so a wrong
pair costs more than a missed one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from knowledge.wecom import Message

GAP = 30 * 60_000  # milliseconds of silence after which a thread is over
LATER = 24 * 3_600_000  # within which a quotation takes a thread up again
BREATH = 3 * 60_000  # within which one goes on speaking
SUBSTANCE = 8  # characters that are left of an answer when politeness is taken away
QUESTION = 300  # characters
CONTEXT = 20  # messages


@dataclass(frozen=True)
class Pair:
    question: str
    answer: str
    room: str
    at: int  # of the question, milliseconds
    sure: bool  # the asker says that it works, not only thanks
    context: list[tuple[Message, str]]  # each with its part: "question", "answer" or ""


@dataclass
class _Open:
    """A question that waits for its answer."""

    asked: Message
    answers: list[Message] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    asked_back: bool = False
    thanked: bool = False
    works: bool = False


_GREETING = re.compile(
    r"^(?:(?:你好|您好|大家好|各位好?|各位(?:老师|大佬|同事|领导)|老师好?|早上好|上午好|中午好|下午好"
    r"|晚上好|早安?|hello|hi|嗨|哈喽|亲|在吗|在么|在不在|有人吗|有人在吗|打扰(?:一下|了)?|不好意思"
    r"|麻烦(?:问|请教)?(?:一下|下)?|想?(?:请问|请教|咨询)(?:一?下)?|问一?下|你们好|客服)"
    r"[\s,，。.!！~～?？:：、啊呀哈]*)+",
    re.IGNORECASE,
)
_AT = re.compile(r"@[^\s@\u2005]{1,30}[\s\u2005]*")
_POLITE = re.compile(
    r"^(?:好的|好滴|好嘞|嗯+|哦+|恩+|收到|稍等(?:一?下)?|稍候|等一?下|等等|请稍等|马上"
    r"|我?(?:这边)?(?:来|去|先|帮您?你?)*"
    r"看(?:一?下|看)|我查(?:一?下|查)?|帮您?你?(?:看|查)(?:一?下|看|查)?|没事|不客气|不用谢|客气了|在的?"
    r"|可以的?|没问题|ok|是的|对的?|行|了解|明白)[\s,，。.!！~～的了呢哈哦啊]*",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"[?？](?!\w)|(?:吗|么|嘛|呢|不)[\s。.!！~～]*$|怎么|怎样|如何|为什么|为啥|为何|咋|啥|什么|哪里|哪个|哪儿"
    r"|哪些|多少|多久|几个|能不能|能否|可否|可不可以|可以不|是否|是不是|有没有|要不要|求助|求教|求解",
)
_TROUBLE = re.compile(
    r"报错|错误|失败|无法|不了|不上|不到|不开|不出|不通|不动|不生效|没生效|没反应|没有反应|没数据|异常|卡住"
    r"|报\s?[A-Za-z]|延迟|不准|不一致|一直|变红|变慢|没了|弹出|提示|卡死|超时|挂了|崩溃|宕机|起不来|掉线|断开|丢失|乱码|白屏|黑屏|打不|连不|登不|告警|占满|满了|很慢|太慢"
    r"|error|exception|fail|timeout|denied|refused|oom|50[0-4]|404|403|401",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"帮忙|帮我|麻烦|需要|想要|想.{0,6}(?:开通|申请|修改|调整|加)|申请|求助|请.{0,4}(?:处理|看)"
)
# What the one who helps asks back.
_ASKING_BACK = re.compile(
    r"还有(?:什么|其他|别的|问题)|(?:好了|可以了|行了|解决了|正常了|恢复了|有用|成功)(?:吗|么|没)|试(?:一?下|试)?.{0,8}(?:吗|没|呢)"
    r"|方便.{0,12}(?:吗|么|发|提供|给)|发.{0,10}(?:截图|日志|看看|一下|我)|截图|(?:什么|哪个|哪一?台|多少|具体).{0,6}"
    r"(?:版本|系统|环境|报错|机器|时间|账号|项目|浏览器|型号|问题|情况)|版本(?:是|号)?(?:多少|什么|呢)"
    r"|有没有.{0,10}(?:日志|报错|截图|权限|重启|试)|是不是.{0,12}(?:没|用|填|选|装|改|配)|重启.{0,4}(?:了吗|过吗|没)"
    r"|看(?:得|不)?到吗|确认一?下|能.{0,6}(?:ping|telnet|访问|登录).{0,6}(?:吗|么|不)|吗[?？]?$",
    re.IGNORECASE,
)
_WORKS = re.compile(
    r"(?:^|[,，。.!！\s~～了的就都也])(?:已经?)?(?:好了|可以了|可以啦|行了|解决了|已解决|搞定|正常了|恢复了|成功了|能用了"
    r"|能(?:登|连|访问|打开|启动|看到|上|进|查到?|收到|发)\S{0,4}了|没问题了|没有?报错了|不报错了|通了|起来了|ok了|生效了|有了"
    r"|看到了|找到了|就是这个|是这个原因|果然)"
    r"|(?:现在|刚|重启完?|改完?|试了下?|确实|真的?|果然)\S{0,8}(?:好了|可以|正常|行了|成功|恢复|解决|搞定|通了|没问题)"
    r"|👌|\[OK\]",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"谢谢|谢啦|感谢|多谢|谢了|3q|thx|thanks|thank you|辛苦|明白了|懂了|了解了|知道了|收到|学到了"
    r"|清楚了|好的[,，。!！~～\s]*$"
    r"|👍|🙏|\[强\]|\[抱拳\]|\[鼓掌\]|\[赞\]",
    re.IGNORECASE,
)
_THANKED = re.compile(
    r"^(?:(?:好的|明白了?|懂了|了解了?|知道了|收到|谢谢|感谢|ok)[,，。!！~～\s]+)+", re.IGNORECASE
)
_FAILS = re.compile(
    r"还是(?:不|没|报|一样|这样|那样|连|打|失败|无法|有问题|同样)|依然|依旧|仍然?|没用|没有用|不管用|没效果|没变化|还不行"
    r"|也不行|不行|没解决|没好|又(?:报|出现|挂|断|不)|不对|不是这个|试过了|还报|同样的?(?:报错|错误|问题)",
)
_NO_WORDS = re.compile(r"\[(?:图片|语音|视频|文件[^\]]*)\]")
# What was done for this one customer tells the next one nothing; nor does who was asked.
_DONE_FOR = re.compile(
    r"(?:已经?|刚刚?|我|给您?你?|帮您?你?|后台|这边){1,4}.{0,10}?(?:处理|开通|开好|加|添加|重置|重启|改|调整|配|恢复|修复|解封"
    r"|提交|反馈|转|授权|放行|扩容|解锁|清理?)(?:好|完|过|给)?(?:了|啦|好|完|权限)?[^,，。;；\n]{0,8}|(?:你|您)?(?:去|可以)?"
    r"(?:找|联系|咨询|问)(?:一?下)?[^,，。;；\n]{0,12}|(?:明天|下午|稍后|晚点|回头).{0,10}"
    r"|(?:那|等)?我.{0,6}(?:过去|过来|上门|远程).{0,6}"
)
_VAGUE = re.compile(
    r"(?:这|那|它|上面)(?:个|种|样|里|块|边)?.{0,4}(?:是|要)?(?:什么|怎么|咋|啥|呢).{0,5}"
)
# Thanks alone do not tell an answer from a favour: the question must ask for knowledge.
_HOW = re.compile(
    r"怎么|怎样|如何|为什么|为啥|为何|咋|什么|哪里|哪儿|哪个|在哪|多少|能不能|能否|可不可以|"
    + _TROUBLE.pattern,
    re.IGNORECASE,
)


def pairs(messages: Iterable[Message]) -> tuple[list[Pair], dict[str, int]]:
    """The pairs of all rooms, and how many threads there were and questions without a pair."""
    found: list[Pair] = []
    counts = {"threads": 0, "unconfirmed": 0, "unanswered": 0}
    for thread in threads(messages):
        counts["threads"] += 1
        for one in _questions(turns(thread)):
            if pair := _pair(one, thread):
                found.append(pair)
            else:
                counts["unconfirmed" if one.answers else "unanswered"] += 1
    return found, counts


def threads(messages: Iterable[Message]) -> list[list[Message]]:
    """Messages of one room that belong together, cut where it was silent for long. What quotes
    someone goes to the thread in which that person spoke last, for a day."""
    rooms: dict[str, list[list[Message]]] = {}
    for message in sorted(messages, key=lambda one: one.at):
        held = rooms.setdefault(message.room, [])
        if thread := _continued(held, message):
            thread.append(message)
        else:
            held.append([message])
    return [thread for held in rooms.values() for thread in held]


def _continued(held: list[list[Message]], message: Message) -> list[Message] | None:
    if message.quoted:
        for thread in reversed(held[-5:]):
            spoke = any(one.sender == message.quoted for one in thread)
            if spoke and message.at - thread[-1].at < LATER:
                return thread
    if held and message.at - held[-1][-1].at <= GAP:
        return held[-1]
    return None


def turns(thread: list[Message]) -> list[Message]:
    """Consecutive messages of one sender as one, with the time of the first."""
    joined: list[Message] = []
    ended = 0
    for message in thread:
        last = joined[-1] if joined else None
        if (
            last
            and last.sender == message.sender
            and message.at - ended <= BREATH
            and not message.quoted
        ):
            text = f"{last.text}\n{message.text}"
            joined[-1] = replace(last, text=text, mentions=last.mentions + message.mentions)
        else:
            joined.append(message)
        ended = message.at
    return joined


# --- a thread from turn to turn -------------------------------------------------------


def _questions(thread: list[Message]) -> list[_Open]:
    """Who asks, who answers whom, and what came of it."""
    waiting: list[_Open] = []
    done: list[_Open] = []
    helpers: set[str] = set()
    for turn in thread:
        own = next((one for one in waiting if one.asked.sender == turn.sender), None)
        other, named = _addressed(waiting, turn)
        if own and not (named and other):
            if not _goes_on(own, turn):
                continue
            waiting.remove(own)
            done.append(own)
            own.works = own.works or bool(own.answers and _works(turn.text))
            if own.works or not _asks(turn.text):
                continue
            waiting.append(_Open(turn))
        elif other and (named or not _asks_anew(turn, helpers)):
            helpers.add(turn.sender)
            _help(other, turn)
        elif _opens(turn, helpers):
            waiting.append(_Open(turn))
    return done + waiting


def _addressed(waiting: list[_Open], turn: Message) -> tuple[_Open | None, bool]:
    """The question of someone else that a turn would answer, and whether it names its asker."""
    others = [one for one in waiting if one.asked.sender != turn.sender]
    for one in reversed(others):
        if turn.quoted == one.asked.sender or one.asked.sender in turn.mentions:
            return one, True
    # Else the one that it shares most with, the latest of several.
    said = _bigrams(turn.text)
    return max(reversed(others), key=lambda one: _shared(one, said), default=None), False


def _shared(question: _Open, said: set[str]) -> int:
    return len(_bigrams(" ".join([question.asked.text, *question.details])) & said)


def _bigrams(text: str) -> set[str]:
    words = re.findall(r"[a-z0-9]+|[\u4e00-\u9fff]", text.casefold())
    return {"".join(pair) for pair in pairwise(words)} | {word for word in words if len(word) > 2}


def _goes_on(own: _Open, turn: Message) -> bool:
    """Take what the asker says on; True when this ends the question."""
    if not own.answers:
        if _works(turn.text):
            return True  # alone
        if not own.asked_back:
            own.details.append(turn.text)
        return False
    if _FAILS.search(turn.text):
        own.answers.clear()
        own.thanked = False
        return False
    own.thanked = own.thanked or bool(_THANKS.search(turn.text))
    return _works(turn.text) or (_asks(turn.text) and len(_plain(turn.text)) >= 5)


def _help(question: _Open, turn: Message) -> None:
    told = _told(turn.text)
    if _has_substance(told):
        question.answers.append(replace(turn, text=told))
    elif _asks(turn.text):
        question.asked_back = True


def _asks_anew(turn: Message, helpers: set[str]) -> bool:
    """Whether someone puts a question of their own while another's waits."""
    text = _plain(turn.text)
    if turn.external:
        return _asks(text) or bool(_TROUBLE.search(text) or _WISH.search(text))
    own_matter = re.match(
        r"我(?:这|们|的|也|想|要)|请问|请教|问一?下", _AT.sub("", turn.text).strip()
    )
    if own_matter and (_asks(text) or _TROUBLE.search(text)):
        return turn.sender not in helpers
    rest = _told(turn.text)
    return rest.endswith(("?", "？")) and len(rest) >= 10 and turn.sender not in helpers


def _opens(turn: Message, helpers: set[str]) -> bool:
    text = _plain(turn.text)
    if len(text) < 5 or (turn.sender in helpers and _ASKING_BACK.search(text)):
        return False
    if _THANKS.search(text) and not _asks(text):
        return False
    return _asks(text) or bool(_TROUBLE.search(text) or _WISH.search(text))


def _asks(text: str) -> bool:
    return any(_ASKING.search(sentence) for sentence in _sentences(text))


def _works(text: str) -> bool:
    """ "现在好了吗？" does not say so, nor does "还是不行"."""
    return any(
        _WORKS.search(sentence) and not _ASKING.search(sentence) for sentence in _sentences(text)
    ) and not _FAILS.search(text)


# --- what is left of a message ----------------------------------------------------------


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[?？!！。\n])", text) if part.strip()]


def _plain(text: str) -> str:
    """Without greeting, thanks and mentions at its beginning."""
    return _GREETING.sub("", _THANKED.sub("", _AT.sub("", text).strip())).strip()


def _told(text: str) -> str:
    """What an answer tells: without politeness and what it asks back."""
    lines = []
    for line in _plain(text).split("\n"):
        kept = [part for part in _sentences(line) if not _is_asked_back(part)]
        lines.append(_POLITE.sub("", "".join(kept).strip()))
    return "\n".join(line for line in lines if line.strip()).strip()


def _is_asked_back(sentence: str) -> bool:
    ends = sentence.rstrip()
    return bool(_ASKING_BACK.search(sentence)) and (
        ends.endswith(("?", "？", "吗", "么", "呢")) or len(ends) < 25
    )


def _has_substance(text: str) -> bool:
    rest = _DONE_FOR.sub("", _NO_WORDS.sub("", text))
    rest = _POLITE.sub("", rest.strip(" ,，。.!！~～\n"))
    return len(rest) >= SUBSTANCE and not _THANKS.fullmatch(rest)


def _pair(one: _Open, thread: list[Message]) -> Pair | None:
    question = _question(one)
    helped = one.works or (one.thanked and _HOW.search(question))
    if not question or not one.answers or not helped:
        return None
    answer = "\n\n".join(dict.fromkeys(turn.text for turn in one.answers))
    answering = {(turn.sender, turn.at) for turn in one.answers}
    first = next(at for at, said in enumerate(thread) if said.at >= one.asked.at)
    context = [(said, _part(said, one, answering)) for said in thread[first : first + CONTEXT]]
    return Pair(question, answer, one.asked.room, one.asked.at, one.works, context)


def _part(said: Message, one: _Open, answering: set[tuple[str, int]]) -> str:
    if (said.sender, said.at) == (one.asked.sender, one.asked.at):
        return "question"
    return "answer" if (said.sender, said.at) in answering else ""


def _question(one: _Open) -> str:
    """As one line; the asker's first details go with it as far as there is room."""
    text = " ".join(_NO_WORDS.sub(" ", _plain(one.asked.text)).split())
    for more in one.details:
        told = " ".join(_NO_WORDS.sub(" ", _plain(more)).split())
        if told and len(text) + len(told) < QUESTION:
            text = f"{text} {told}".strip()
    text = text[:QUESTION]
    return "" if len(text) < 5 or _VAGUE.fullmatch(text) else text
