import struct
from email.message import EmailMessage

import pytest

from knowledge.parsing import media_type, parse
from opsdesk.errors import ParseError
from tests.knowledge.parsing import files

HTML = '<html><body><p>先看<b>日志</b></p><img src="cid:pic1"><table><tr><th>级别</th><th>时限</th>'
HTML += "</tr><tr><td>P1</td><td>15 分钟</td></tr></table></body></html>"


def read(tmp_path, data, name="a.eml"):
    path = tmp_path / name
    path.write_bytes(data)
    return parse(path, name)


def texts(parsed):
    return [block.text for block in parsed.blocks]


def message(**headers):
    made = EmailMessage()
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    return made


def test_who_wrote_what_and_what_is_quoted(tmp_path):
    mail = message(
        Subject="回复：磁盘告警", From="张三 <zhang@example.com>", To="ops@example.com",
        Date="Sat, 21 Nov 2026 10:00:00 +0800",
    )  # fmt: skip
    mail.set_content("先清理日志。\n\n-----原始邮件-----\n> 磁盘满了怎么办？\n> 急\n")
    parsed = read(tmp_path, mail.as_bytes())
    assert parsed.title == "回复：磁盘告警" and parsed.blocks[0].level == 1
    head = parsed.blocks[1].text
    assert "From: 张三 <zhang@example.com>" in head and "Date: 2026-11-21 10:00 +0800" in head
    assert texts(parsed)[2:] == ["先清理日志。", "原始邮件", "> 磁盘满了怎么办？\n> 急"]
    assert parsed.blocks[3].kind == "heading"


def test_gbk_headers_and_bodies_however_they_are_written(tmp_path):
    encoded = (
        b"Subject: =?gb2312?B?"
        + b"tMXFzLjmvq8="
        + b"?=\r\nFrom: =?GBK?Q?=D5=C5=C8=FD?= <a@b.cn>\r\n"
        b"Content-Type: text/plain; charset=gb2312\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    ) + "正文里有 GBK 才有的字：镕".encode("gb18030")
    parsed = read(tmp_path, encoded)
    assert parsed.title == "磁盘告警" and "张三" in parsed.blocks[1].text
    assert "镕" in parsed.blocks[2].text
    raw = "Subject: 裸的标题\r\nFrom: a@b.cn\r\n\r\n裸的正文".encode("gb18030")
    assert read(tmp_path, raw).title == "裸的标题"
    quoted = b"Subject: a\r\nFrom: a@b.cn\r\nContent-Type: text/plain; charset=utf-8\r\n"
    quoted += b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E9=87=8D=E5=90=AF=\r\n nginx"
    assert texts(read(tmp_path, quoted))[-1] == "重启 nginx"


def test_an_html_body_keeps_its_structure_and_its_pictures(tmp_path):
    mail = message(Subject="值班", From="a@b.cn")
    mail.set_content("纯文本")
    mail.add_alternative(HTML, subtype="html")
    mail.get_payload()[1].add_related(files.picture(), "image", "png", cid="<pic1>")
    parsed = read(tmp_path, mail.as_bytes())
    assert [row for block in parsed.blocks for row in block.rows] == [
        ["级别", "时限"],
        ["P1", "15 分钟"],
    ]
    assert [asset.kind for asset in parsed.assets if asset.data] == ["picture"]
    assert "纯文本" not in texts(parsed) and not parsed.warnings


def test_attachments_are_read_too_or_named(tmp_path):
    files.xlsx(tmp_path / "a.xlsx")
    mail = message(Subject="报表", From="a@b.cn")
    mail.set_content("见附件")
    mail.add_attachment((tmp_path / "a.xlsx").read_bytes(), "application", "octet-stream",
                        filename="主机清单.xlsx")  # fmt: skip
    mail.add_attachment(b"\x7fELF" + bytes(60), "application", "octet-stream", filename="工具.bin")
    inner = message(Subject="转发的", From="c@d.cn")
    inner.set_content("里面的正文")
    mail.add_attachment(inner)
    parsed = read(tmp_path, mail.as_bytes())
    found = texts(parsed)
    assert "主机清单.xlsx" in found and "主机" in found and "里面的正文" in found
    assert any("10.0.0.1" in cell for block in parsed.blocks for row in block.rows for cell in row)
    assert "工具.bin" in parsed.warnings[-1] and "主机清单" not in parsed.warnings[-1]
    assert {block.page for block in parsed.blocks} == {None}


def test_what_is_damaged_in_a_message_loses_nothing_of_the_rest(tmp_path):
    files.archive(tmp_path / "a.docx", {"word/document.xml": "<w:docum"})
    mail = message(From="a@b.cn")
    mail.set_content("纯文本")
    mail.add_alternative("<html><body><img src='http://x/1.gif'></body></html>", subtype="html")
    mail.add_attachment((tmp_path / "a.docx").read_bytes(), "application", "octet-stream",
                        filename="坏的.docx")  # fmt: skip
    parsed = read(tmp_path, b"Subject: =?utf-8?B?5Lit5?=\r\n" + mail.as_bytes())
    assert "纯文本" in texts(parsed) and "坏的.docx" in parsed.warnings[-1]


def test_messages_within_messages_end_somewhere(tmp_path):
    mail = message(Subject="0", From="a@b.cn")
    mail.set_content("最里面")
    for number in range(1, 5):
        outer = message(Subject=str(number), From="a@b.cn")
        outer.set_content("外面")
        outer.add_attachment(mail)
        mail = outer
    parsed = read(tmp_path, mail.as_bytes())
    assert "最里面" not in texts(parsed) and parsed.warnings


def test_a_message_of_outlook(tmp_path):
    path = tmp_path / "a.msg"
    path.write_bytes(
        outlook("扩容申请", "请给 db-1 扩容。", {"步骤.md": "# 步骤\n\n先备份".encode()})
    )
    assert media_type(path, "a.msg") == "application/vnd.ms-outlook"
    parsed = parse(path, "a.msg")
    assert parsed.title == "扩容申请"
    assert "From: 李四 <li@example.com>" in parsed.blocks[1].text
    assert texts(parsed)[2:] == ["请给 db-1 扩容。", "步骤.md", "步骤", "先备份"]


@pytest.mark.parametrize("cut", [600, 1100, 1700])
def test_a_damaged_message_of_outlook_is_called_so(tmp_path, cut):
    path = tmp_path / "a.msg"
    path.write_bytes(outlook("a", "b", {})[:cut])
    with pytest.raises(ParseError, match=r"损坏|格式"):
        parse(path, "a.msg")


# --- a compound file as Outlook writes it, in its simplest form ------------------------

FREE, END = 0xFFFFFFFF, 0xFFFFFFFE
HEADERS = "From: 李四 <li@example.com>\r\nTo: ops@example.com\r\n"


def outlook(subject, body, attached):
    root = properties({0x0037: subject, 0x1000: body, 0x007D: HEADERS}, 32)
    for number, (name, data) in enumerate(attached.items()):
        entries = properties({0x3707: name}, 8, {0x3701: data})
        root[f"__attach_version1.0_#{number:08X}"] = entries
    return compound(root)


def properties(words, header, binary=()):
    streams = {
        f"__substg1.0_{pid:04X}001F": text.encode("utf-16-le") for pid, text in words.items()
    }
    streams |= {f"__substg1.0_{pid:04X}0102": data for pid, data in dict(binary).items()}
    listed = b"".join(
        struct.pack("<HHIII", int(name[-4:], 16), int(name[-8:-4], 16), 6, len(data), 0)
        for name, data in streams.items()
    )
    return {**streams, "__properties_version1.0": bytes(header) + listed}


def compound(root):
    """Streams and storages as a compound file in which every stream is a small one."""
    entries, small, chains = [], b"", []

    def store(data):
        nonlocal small
        first, count = len(chains), -(-len(data) // 64)
        small += data.ljust(count * 64, b"\0")
        chains.extend([*range(first + 1, first + count), END])
        return first

    def enter(name, content):
        place, folder = len(entries), isinstance(content, dict)
        entries.append(None)
        children = [enter(*item) for item in content.items()] if folder else []
        for one, after in zip(children, [*children[1:], FREE], strict=True) if children else ():
            entries[one][3] = after
        start, size = (0, 0) if folder else (store(content), len(content))
        kind = (1 if folder else 2) if place else 5
        entries[place] = [name, kind, children[0] if children else FREE, FREE, start, size]
        return place

    enter("Root Entry", root)
    sectors, table = [], []

    def keep(data):
        first, count = len(sectors), -(-len(data) // 512)
        sectors.extend(data[at * 512 : at * 512 + 512].ljust(512, b"\xff") for at in range(count))
        table.extend([*range(first + 1, first + count), END])
        return first

    entries[0][4:] = keep(small), len(small)
    listed = keep(struct.pack(f"<{len(chains)}I", *chains))
    directory = keep(b"".join(map(_entry, entries)))
    allocation = struct.pack(f"<{len(table) + 1}I", *table, 0xFFFFFFFD).ljust(512, b"\xff")
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack(
        "<IIIIIIIII", 0, 1, directory, 0, 4096, listed, -(-len(chains) // 128), END, 0
    )
    head += struct.pack("<109I", len(sectors), *[FREE] * 108)
    assert len(allocation) == 512
    return head + b"".join(sectors) + allocation


def _entry(entry):
    name, kind, child, right, start, size = entry
    encoded = (name + "\0").encode("utf-16-le")
    fields = struct.pack("<HBBIII", len(encoded), kind, 1, FREE, right, child)
    return encoded.ljust(64, b"\0") + fields + bytes(36) + struct.pack("<IQ", start, size)
