from knowledge.parsing import parse, plaintext


def test_headings_paragraphs_and_lists():
    parsed = plaintext.parse(
        "第一章 总则\n\n本手册适用于全体值班人员。\n第二行。\n\n"
        "1.2 安装步骤\n先装数据库，\n再装应用。\n\n1. 备份\n2. 停机\n\n3.14 是圆周率。",
        "手册.txt",
    )
    assert [(block.kind, block.level, block.text) for block in parsed.blocks] == [
        ("heading", 1, "第一章 总则"),
        ("paragraph", None, "本手册适用于全体值班人员。\n第二行。"),
        ("heading", 2, "1.2 安装步骤"),
        ("paragraph", None, "先装数据库，\n再装应用。"),
        ("list", None, "1. 备份\n2. 停机"),
        ("paragraph", None, "3.14 是圆周率。"),
    ]


def test_logs_json_and_configuration_stay_as_written():
    log = "2024-05-01 10:00:00 ERROR 磁盘已满\n2024-05-01 10:00:01 WARN  重试"
    assert [block.kind for block in plaintext.parse(log, "a.txt").blocks] == ["code"]
    parsed = plaintext.parse('{"a": 1,\n  "b": 2}', "a.txt")
    assert (parsed.blocks[0].kind, parsed.blocks[0].language) == ("code", "json")
    parsed = plaintext.parse("[mysqld]\nport = 3306\n", "my.ini")
    assert (parsed.blocks[0].text, parsed.blocks[0].language) == ("[mysqld]\nport = 3306", "ini")


def test_markdown_under_another_name():
    parsed = plaintext.parse("## 安装\n\n步骤\n\n## 升级\n", "说明.txt")
    assert [block.kind for block in parsed.blocks] == ["heading", "paragraph", "heading"]


def test_encodings(tmp_path):
    for encoding in ("utf-8-sig", "gb18030", "utf-16"):
        path = tmp_path / encoding
        path.write_bytes("服务器宕机：先看监控。".encode(encoding))
        assert parse(path, "说明.txt").blocks[0].text == "服务器宕机：先看监控。"
