"""Things a question names that the asked knowledge bases have never seen ("EMQX 怎么安装").

Careful: a product or a title, by the way it is written and where it stands; not commands, codes,
paths, quoted messages, words of plain English (`prompts/common.txt`), nor the asker's own values
("10.1.2.3 连不上 MySQL"). A host only where the question is about it ("db-07 的负责人是谁").
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from django.utils.translation import gettext as _

from knowledge import slips

LONGEST = 20  # characters of a product's name; what is longer is an identifier
_HAN = re.compile(r"[\u4e00-\u9fff]")
# Without what Markdown would read: the answer names it.
_TITLE = re.compile(r"《([^《》\n\[\]()`*_~<>|\\]{2,15})》")
_QUOTED = re.compile(
    r"```.*?```|`[^`]*`|\"[^\"]*\"|“[^”]*”|'[^']*'|「[^」]*」|『[^』]*』", re.DOTALL
)
# Four words in a row are a message, not names.
_PROSE = re.compile(
    r"(?<![A-Za-z])[A-Za-z][\w.,:;'()/-]*+(?: ++[A-Za-z(\"'][A-Za-z0-9_.,:;'()/-]*+){3,}"
)
_NAME = re.compile(
    r"(?<![A-Za-z0-9_./\\:@$%=<>(-])(?=[0-9]*[A-Za-z])[A-Za-z0-9]++(?:[.+#-][A-Za-z0-9]++)*[+#]{0,2}"
    r"(?![A-Za-z0-9_/\\:@$%=<>(*-]|\.[A-Za-z0-9])"
)
# Before and after a name in small letters that a question is about.
_BEFORE = re.compile(
    r"(?:^|[，。；！？、,;!? ]|请问|如何|怎么|怎样|安装|部署|配置|升级|监控|使用|搭建)$"
)
_DONE = "安装|部署|配置|升级|启动|使用|用|监控|扩容|备份|迁移|卸载|搭建|接入"
_AFTER = re.compile(
    rf" ?(?:是什么|支持|集群|服务|的(?:配置|端口|版本|集群|架构|插件|默认|安装|部署|文档)"
    rf"|(?:怎么|怎样|如何|应该怎么)?(?:{_DONE}))"
)
_DOING = re.compile(rf"(?:{_DONE}) ?$")
_END = re.compile(r" ?(?:$|[，。！？,!?])")
_MESSAGE = re.compile(
    r"^Err[A-Z]|(?:Error|Exception|Exceeded|Failed|Failure|Timeout|Killed|BackOff)$"
)
_HOST = re.compile(r"[A-Za-z]+(?:-[A-Za-z0-9]+)*-?\d{2,3}|\d{1,3}(?:\.\d{1,3}){3}")
_ABOUT = re.compile(
    r" ?(?:这[台个])?(?:机器|主机|服务器|节点)? ?"
    r"(?:的(?!时候)|是(?:什么|哪|谁|干)|属于|归谁|在(?:哪|什么))"
)


def unseen(question: str, base_ids: Sequence[int]) -> tuple[list[str], list[str]]:
    """Of the things `question` names those that stand nowhere in these bases, and the others."""
    named = names(question)
    known = slips.known(named, base_ids) if named else set()
    return [name for name in named if name not in known], [n for n in named if n in known]


def told(names: Sequence[str]) -> str:
    """Names them, as the answer does; "" without any."""
    if not names:
        return ""
    # Translators: between the parts of a list
    listed = _(", ").join(names)
    return _("The knowledge base has nothing about %(names)s.") % {"names": listed}


def names(question: str) -> list[str]:
    """The products, titles and hosts that `question` is about, as it writes them, each once."""
    text = unicodedata.normalize("NFKC", question)
    found = [*_TITLE.findall(text), *_hosts(text)]
    if _HAN.search(text):  # in English any word may be one
        found += _products(_QUOTED.sub(" ", _PROSE.sub(" ", text)))
    return list(dict.fromkeys(found))


def _hosts(text: str) -> list[str]:
    """A host that the question begins with and is about."""
    found = _HOST.match(text, len(text) - len(text.lstrip()))
    return [found[0]] if found and _ABOUT.match(text, found.end()) else []


def _products(text: str) -> Iterator[str]:
    for match in _NAME.finditer(text):
        name = match[0]
        if 3 <= len(name) <= LONGEST and name.lower() not in _common() and _is_product(match):
            yield name


def _is_product(match: re.Match[str]) -> bool:
    """Written like a name, or the subject of the question."""
    name, text = match[0], match.string
    value = re.search(r"\d{3}$|^v\d|^\d+[a-z]{1,3}$", name, re.IGNORECASE)
    identifier = len(re.findall(r"[A-Z][a-z]+", name)) > 3
    if value or identifier or _MESSAGE.search(name):
        return False
    if name != name.lower():
        return True
    before, after = text[: match.start()], text[match.end() :]
    subject = _BEFORE.search(before) and _AFTER.match(after)
    thing = _DOING.search(before) and _END.match(after)
    return name.isalpha() and bool(subject or thing)


@cache
def _common() -> frozenset[str]:
    lines = (Path(__file__).parent / "prompts" / "common.txt").read_text("utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())
