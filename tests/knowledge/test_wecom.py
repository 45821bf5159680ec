import json
import re
from datetime import UTC
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge import entries, sheets, wecom, wecom_import, wecom_pairs
from knowledge.models import Entry, Import, KnowledgeBase
from knowledge.wecom import Message

ADD = reverse("admin:knowledge_import_add") + "?kind=wecom"
START = 1_714_528_800_000  # 2024-05-01 10:00 in Shanghai
ANN, BEN = "wmAnnAAAA", "wmBenBBBB"


def line(number, sender, text="", *, minutes=0, kind="text", action="send", **fields):
    body = {kind: {"content": text}} if kind == "text" else {}
    return json.dumps(
        {
            "msgid": f"m{number}", "action": action, "from": sender, "tolist": ["lin"],
            "roomid": "wrRoom", "msgtime": START + minutes * 60_000, "msgtype": kind,
            **body, **fields,
        },
        ensure_ascii=False,
    )  # fmt: skip


def agree(number, user, minutes=0, kind="agree"):
    at = {"userid": user, f"{kind}_time": START + minutes * 60_000}
    return line(number, user, kind=kind, minutes=minutes, **{kind: at})


def texts(found):
    return [message.text for message in found.messages]


# --- files → messages -------------------------------------------------------------------


def test_messages_come_in_the_order_of_time_and_once():
    lines = [line(2, "lin", "乙", minutes=2), line(1, "lin", "甲"), line(2, "lin", "乙", minutes=2)]
    found = wecom.archive([*lines, "", '{"action": "switch", "time": 1, "user": "lin"}'])
    assert texts(found) == ["甲", "乙"]
    assert found.counts["duplicates"] == 1 and found.errors == []


def test_what_was_revoked_is_gone_even_if_told_before():
    recall = line(9, "lin", kind="revoke", action="recall", revoke={"pre_msgid": "m1"}, minutes=1)
    found = wecom.archive([recall, line(1, "lin", "不该说的"), line(2, "lin", "留下")])
    assert texts(found) == ["留下"] and found.counts["revoked"] == 1


def test_only_customers_who_agreed_are_kept_from_then_until_they_disagree():
    found = wecom.archive(
        [
            line(1, ANN, "早了", minutes=0), agree(2, ANN, 5), line(3, ANN, "可以", minutes=6),
            line(4, BEN, "没问过", minutes=7), line(5, "lin", "同事", minutes=8),
        ]
    )  # fmt: skip
    assert texts(found) == ["可以", "同事"] and found.counts["without_consent"] == 2
    withdrawn = [agree(1, ANN), line(2, ANN, "说过", minutes=1), agree(3, ANN, 9, "disagree")]
    assert texts(wecom.archive(withdrawn)) == []


def test_agreement_in_seconds_counts_too():
    early = json.dumps({**json.loads(agree(1, ANN)), "agree": {"userid": ANN, "agree_time": 1}})
    assert texts(wecom.archive([early, line(2, ANN, "好")])) == ["好"]


def test_kinds_of_messages():
    item = [{"type": "text", "content": '{"content": "看图"}'}, {"type": "image", "content": "{}"}]
    forwarded = {
        "title": "群聊",
        "item": [
            {"type": "ChatRecordText", "msgtime": 1, "content": '{"content": "磁盘满了"}'},
            {"type": "ChatRecordImage", "msgtime": 2, "content": '{"sdkfileid": "x"}'},
        ],
    }
    found = wecom.archive(
        [
            line(1, "lin", kind="markdown", info={"content": "**重启**"}),
            line(2, "lin", kind="mixed", mixed={"item": item}, minutes=1),
            line(3, "lin", kind="link", link={"title": "手册", "link_url": "http://a"}, minutes=2),
            line(4, "lin", kind="file", file={"filename": "a.log"}, minutes=3),
            line(5, "lin", kind="image", image={"sdkfileid": "x"}, minutes=4),
            line(6, "lin", kind="chatrecord", chatrecord={"item": []}, minutes=5),
            line(7, "lin", kind="chatrecord", chatrecord=forwarded, minutes=6),
        ]
    )
    assert texts(found) == [
        "**重启**", "看图\n[图片]", "手册 http://a", "[文件 a.log]", "[图片]",
        "群聊\n磁盘满了\n[图片]",
    ]  # fmt: skip
    assert found.counts["without_text"] == 1


def test_broken_lines_are_told_by_their_number():
    found = wecom.archive(
        [line(1, "lin", "好"), "{", "[]", '{"msgid": "x"}', line(2, "lin", "也好")]
    )
    assert [number for number, _reason in found.errors] == [2, 3, 4]
    assert texts(found) == ["好", "也好"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)
KEYS = ["msgid", "action", "from", "tolist", "roomid", "msgtime", "msgtype", "text", "mixed",
        "agree", "revoke", "info"]  # fmt: skip
VALUES = json_values | st.sampled_from(["text", "mixed", "revoke", "agree", "send", START])


@settings(max_examples=25)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES), max_size=5))
def test_no_line_breaks_the_reader(records):
    wecom.archive([json.dumps(record) for record in records])


def test_a_chat_as_text_with_quotations_and_what_was_taken_back():
    found = wecom.transcript(
        "抬头\n张三 2024-05-01 10:00:00\n怎么重启？\n急\n\n2024/5/1 10:01 李四\n"
        "「张三：怎么重启？」\n"
        "- - - - - - -\nnginx -s reload\n王五 2024-05-01 10:02:00\n说错了\n"
        "王五 2024-05-01 10:03:00\n王五撤回了一条消息\n",
        UTC, "群",
    )  # fmt: skip
    assert texts(found) == ["怎么重启？\n急", "nginx -s reload"]
    assert found.messages[1].quoted == "张三"
    assert found.counts["revoked"] == 1 and found.errors == [(1, "no_sender")]


def test_rows_of_a_sheet():
    rows = [["聊天记录"], ["发送时间", "发送人", "消息内容", "群名"],
            ["2024-05-01 10:00:00", "张三", "怎么重启？", "运维群"],
            ["昨天", "李四", "x", ""]]  # fmt: skip
    found = wecom.table(enumerate(rows, 1), UTC)
    assert [(one.room, one.sender, one.text) for one in found.messages] == [
        ("运维群", "张三", "怎么重启？")
    ]
    assert found.errors == [(4, "fields")]
    assert wecom.table([(1, ["a", "b"])], UTC) is None


# --- messages → pairs -------------------------------------------------------------------


def conversations():
    text = (Path(__file__).parent / "conversations.txt").read_text("utf-8")
    for block in text.split("\n## ")[1:]:
        name, *lines = block.split("\n")
        at, messages, expected = START, [], []
        for told in filter(None, map(str.strip, lines)):
            if told.startswith("#"):
                break
            if told.startswith("=>"):
                expected.append(tuple(part.strip() for part in told[2:].split(" | ", 1)))
            elif told.startswith("+"):
                at += int(told[1:]) * 60_000
            else:
                who, said = told.split(": ", 1)
                quoted = ""
                if said.startswith("> "):
                    quoted, said = said[2:].split(" ", 1)
                at += 60_000
                mentions = tuple(re.findall(r"@(\w+)", said))
                messages.append(Message("r", who, at, said, who[0] == "c", quoted, mentions))
        yield name.strip(), messages, expected


def measured():
    """Right, wrong and missed pairs over all conversations."""
    right, wrong, missed = 0, [], []
    for name, messages, expected in conversations():
        found, _counts = wecom_pairs.pairs(messages)
        for pair in found:
            hit = next(
                (one for one in expected if one[0] in pair.question and one[1] in pair.answer), None
            )
            if hit:
                expected.remove(hit)
                right += 1
            else:
                wrong.append((name, pair.question))
        missed += [(name, one) for one in expected]
    return right, wrong, missed


def test_pairs_of_conversations_are_right():
    """Precision counts more: a wrong draft costs a person's time."""
    right, wrong, missed = measured()
    assert wrong == []
    assert right / (right + len(missed)) > 0.9, missed


def test_a_silence_ends_a_thread_and_rooms_are_apart():
    def said(room, minutes):
        return Message(room, "lin", START + minutes * 60_000, "x")

    found = wecom_pairs.threads([said("a", 0), said("b", 1), said("a", 20), said("a", 51)])
    assert sorted(map(len, found)) == [1, 1, 2]


# --- the import -------------------------------------------------------------------------

ARCHIVE = "\n".join(
    [
        agree(1, ANN),
        line(2, ANN, "你好，登录提示 403 怎么办？我手机 13812345678，密码：Abc@1234", minutes=1),
        line(3, "lin", "@Ann 把 IP 加到白名单里，在安全设置里保存就生效", minutes=2),
        line(4, ANN, "好了，谢谢", minutes=3),
        line(5, BEN, "我没同意，电话 13900001111", minutes=4),
        "broken",
    ]
)


@pytest.fixture
def base(settings, tmp_path, db):
    settings.MEDIA_ROOT = tmp_path / "files"
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def upload(client, base, content=ARCHIVE, name="chat.jsonl"):
    data = content.encode() if isinstance(content, str) else content
    posted = {"knowledge_base": base.pk, "mask_email": "on",
              "file": SimpleUploadedFile(name, data)}  # fmt: skip
    return client.post(ADD, posted, follow=True)


def test_conversations_become_masked_drafts(admin_client, base):
    page = upload(admin_client, base)
    row = Import.objects.get()
    assert page.status_code == 200 and row.state == Import.State.QUEUED
    stored = row.file.read().decode()
    for secret in ("13812345678", "Abc@1234", "13900001111", ANN, '"lin"', "Ann"):
        assert secret not in stored
    wecom_import.run(row.pk)
    wecom_import.run(row.pk)  # delivered again
    row.refresh_from_db()
    assert (row.state, row.created, row.failed) == (Import.State.DONE, 1, 1)
    assert row.errors[0]["row"] == 6
    assert row.counts["masked"] == {"secret": 1, "mobile": 1}
    assert row.counts["without_consent"] == 1
    draft = Entry.objects.get()
    assert (draft.state, draft.origin) == (Entry.State.DRAFT, Entry.Origin.WECOM)
    assert draft.question.startswith("登录提示 403 怎么办？") and "【手机号】" in draft.question
    assert "白名单" in draft.answer and "2024-05-01 10:01" in draft.reference
    assert [said["part"] for said in draft.context] == ["question", "answer", ""]
    assert draft.context[0]["who"] == "客户A"
    html = admin_client.get(
        reverse("admin:knowledge_import_change", args=[row.pk])
    ).content.decode()
    assert row.errors[0]["message"] in html


def test_an_import_that_fails_says_so_and_can_be_started_again(admin_client, base):
    upload(admin_client, base)
    row = Import.objects.get()
    kept = Path(row.file.path).rename(Path(row.file.path).with_suffix(".away"))
    with pytest.raises(FileNotFoundError):
        wecom_import.run(row.pk)
    row.refresh_from_db()
    assert row.state == Import.State.FAILED and row.error
    kept.rename(row.file.path)
    page = reverse("admin:knowledge_import_change", args=[row.pk])
    assert "_import" in admin_client.get(page).content.decode()
    admin_client.post(page, {"_import": "1"})
    wecom_import.run(row.pk)
    assert Entry.objects.count() == 1


def test_what_is_known_already_makes_no_draft(admin_client, base):
    for _n in range(2):
        upload(admin_client, base)
    for row in Import.objects.order_by("pk"):
        wecom_import.run(row.pk)
    assert Entry.objects.count() == 1
    assert Import.objects.latest("pk").unchanged == 1


def test_names_become_roles_in_a_sheet(admin_client, base):
    rows = [["时间", "发送人", "内容", "群"],
            ["2024-05-01 10:00:00", "张小三", "请问怎么查看端口占用？", "运维群"],
            ["2024-05-01 10:01:00", "李四光", "@张小三 ss -lntp 看最后一列的进程", "运维群"],
            ["2024-05-01 10:02:00", "张小三", "看到了，谢谢李四光", "运维群"]]  # fmt: skip
    upload(admin_client, base, sheets.to_xlsx(rows), "chat.xlsx")
    row = Import.objects.get()
    wecom_import.run(row.pk)
    draft = Entry.objects.get()
    assert "ss -lntp" in draft.answer
    told = json.dumps(draft.context, ensure_ascii=False) + draft.answer
    assert "张小三" not in told and "李四光" not in told and "同事A" in told


def test_what_is_no_conversation_is_refused(admin_client, base):
    for name, content in (
        ("a.jsonl", "没有对话"), ("a.xlsx", sheets.to_xlsx([["甲", "乙"]])),
        ("a.txt", b"\x7fELF\x02\x01\x01" + bytes(90)), ("a.txt", "  "),
    ):  # fmt: skip
        page = upload(admin_client, base, content, name)
        assert page.status_code == 200 and page.context["form"].errors["file"], name
    assert not Import.objects.exists()


def test_a_draft_of_a_chat_is_published_like_any_other(admin_client, base):
    upload(admin_client, base)
    wecom_import.run(Import.objects.get().pk)
    assert entries.publish(Entry.objects.all()) == 1
