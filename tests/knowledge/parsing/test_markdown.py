from knowledge.parsing import markdown


def kinds(parsed):
    return [(block.kind, block.text) for block in parsed.blocks]


def test_front_matter_gives_the_title_and_is_no_text():
    parsed = markdown.parse("---\ntitle: '部署手册'\nsummary: x\n---\n\n# 安装\n\n正文")
    assert parsed.title == "部署手册"
    assert kinds(parsed) == [("heading", "安装"), ("paragraph", "正文")]
    assert markdown.parse("## 小节\n\n# 总标题").title == "总标题"


def test_code_is_kept_to_the_byte():
    code = "if x:\n\n    print('<b>' )  # ![a](b)\n\t"
    parsed = markdown.parse(f"前文：\n\n```python title=a\n{code}\n```\n\n    缩进  代码\n")
    assert kinds(parsed) == [("paragraph", "前文："), ("code", code), ("code", "缩进  代码")]
    assert parsed.blocks[1].language == "python"


def test_a_list_is_one_block_with_the_code_in_it():
    source = "1. 登录主机：\n\n    ```bash\n    ssh <host>\n    ```\n\n2. 重启\n   - 检查"
    assert kinds(markdown.parse(f"步骤\n\n{source}\n\n完")) == [
        ("paragraph", "步骤"),
        ("list", source),
        ("paragraph", "完"),
    ]


def test_tables_become_rows():
    parsed = markdown.parse("| 参数 | 说明 |\n|---|---|\n| `a\\|b` | 第一<br>第二 |\n| c | |\n")
    table = parsed.blocks[0]
    assert table.rows == [["参数", "说明"], ["`a|b`", "第一\n第二"], ["c", ""]]
    assert table.header_rows == 1
    assert "<th>参数</th>" in parsed.assets[table.asset].html


def test_what_readers_never_see_is_dropped():
    parsed = markdown.parse(
        "<!-- 待补 -->\n\n"
        '<Tabs groupId="os">\n<TabItem value="a">\n\n启动 <kbd>Enter</kbd> 与 <namespace>。\n\n'
        "</TabItem>\n</Tabs>\n\n"
        "![架构图](/media/a.png) 见[安装](/install.md#x)与[官网](https://example.com/)\n\n"
        '{{< copyable "sql" >}}\n\n## 小节 {#anchor}\n'
    )
    assert kinds(parsed) == [
        ("paragraph", "启动 Enter 与 <namespace>。"),
        ("paragraph", "架构图 见安装与[官网](https://example.com/)"),
        ("heading", "小节"),
    ]


def test_boxes_are_opened():
    parsed = markdown.parse(
        '!!! warning "注意"\n    第一段\n\n    ```sh\n    rm x\n    ```\n\n'
        "正文\n\n::: tip 提示\n内容\n:::\n"
    )
    assert kinds(parsed) == [
        ("paragraph", "**注意**"),
        ("paragraph", "第一段"),
        ("code", "rm x"),
        ("paragraph", "正文"),
        ("paragraph", "**提示**"),
        ("paragraph", "内容"),
    ]


def test_quotes_html_tables_and_formulas():
    parsed = markdown.parse(
        "> **注意：**\n>\n> - 甲\n> - 乙\n\n<table><tr><td rowspan=2>a</td><td>b</td></tr>"
        "<tr><td>c</td></tr></table>\n\n$$\nE=mc^2\n$$\n"
    )
    assert kinds(parsed)[:2] == [("paragraph", "**注意：**"), ("list", "- 甲\n- 乙")]
    assert parsed.blocks[2].rows == [["a", "b"], ["", "c"]]
    assert 'rowspan="2"' in parsed.assets[0].html
    assert kinds(parsed)[3] == ("formula", "E=mc^2")


def test_line_breaks_stay_as_they_are():
    assert kinds(markdown.parse("第一行\n第二行")) == [("paragraph", "第一行\n第二行")]
