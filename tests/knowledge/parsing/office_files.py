"""Office files with text outside their body: boxes, charts, diagrams, notes, comments."""

import io
import zipfile

from docx import Document
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from openpyxl import Workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part as SlidePart
from pptx.opc.packuri import PackURI as SlideURI
from pptx.oxml import parse_xml as parse_slide_xml
from pptx.util import Inches

from tests.knowledge.parsing import files

REL = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
SPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    ' xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    ' xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing"'
    ' xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    ' xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
    ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"'
    ' xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
    f' xmlns:v="urn:schemas-microsoft-com:vml" xmlns:r="{REL}"'
)
DIAGRAM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"


def _boxed(text):
    """A text box as Word writes it: once for itself, once for old programs."""
    content = f"<w:txbxContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:txbxContent>"
    return (
        f'<w:r {SPACES}><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:inline>'
        '<wp:extent cx="9" cy="9"/><wp:docPr id="9" name="box"/><a:graphic><a:graphicData'
        ' uri="http://schemas.microsoft.com/office/word/2010/wordprocessingShape"><wps:wsp>'
        f"<wps:txbx>{content}</wps:txbx></wps:wsp></a:graphicData></a:graphic></wp:inline>"
        f"</w:drawing></mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox>{content}"
        "</v:textbox></v:shape></w:pict></mc:Fallback></mc:AlternateContent></w:r>"
    )


def docx(path):
    document = Document()
    document.add_heading("巡检手册", 1)
    boxed = document.add_paragraph("框前的正文")
    boxed._p.append(parse_xml(_boxed("框中注意：先断电")))
    old = (
        f"<w:r {SPACES}><w:pict><v:shape><v:textbox><w:txbxContent><w:p><w:r><w:t>旧式文本框"
        "</w:t></w:r></w:p></w:txbxContent></v:textbox></v:shape></w:pict></w:r>"
    )
    document.add_paragraph("第二段")._p.append(parse_xml(old))
    noted = document.add_paragraph("阈值见脚注")
    noted._p.append(parse_xml(f'<w:r {SPACES}><w:footnoteReference w:id="2"/></w:r>'))
    note = f'<w:footnotes {SPACES}><w:footnote w:id="2"><w:p><w:r><w:t>以季度评审为准</w:t></w:r>'
    blob = f"{note}</w:p></w:footnote></w:footnotes>".encode()
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), kind, blob, document.part.package)
    document.part.relate_to(part, f"{REL}/footnotes")
    document.add_comment(boxed.runs, text="此处要核对", author="王工")
    document.add_paragraph("最后一段")
    deleted = '<w:del w:id="1" w:author="a"><w:r><w:delText>已删除的话</w:delText></w:r></w:del>'
    document.element.body.insert(
        1, parse_xml(f"<w:p {SPACES}>{deleted}<w:r><w:t>可见的话</w:t></w:r></w:p>")
    )
    document.sections[0].header.paragraphs[0].text = "内部资料"
    document.save(path)


def docx_tables(path):
    """Two tables that touch, cells merged both ways, a table and a list inside cells."""
    document = Document()
    merged, beside = document.add_table(3, 3), document.add_table(2, 2)
    for name, table in (("甲", merged), ("乙", beside)):
        for row, line in enumerate(table.rows):
            for column, cell in enumerate(line.cells):
                cell.text = f"{name}{row}{column}"
    for cell in (merged.cell(1, 2), merged.cell(2, 1), merged.cell(2, 2)):
        cell.text = ""
    merged.cell(1, 1).merge(merged.cell(2, 2))
    document.add_paragraph("之后")
    outer = document.add_table(2, 2)
    outer.cell(0, 0).text, outer.cell(0, 1).text = "步骤", "参数"
    outer.cell(1, 0).text = "第一段"
    outer.cell(1, 0).add_paragraph("第二段")
    outer.cell(1, 0).add_paragraph("项目", style="List Bullet")
    inner = outer.cell(1, 1).add_table(2, 2)
    for row, line in enumerate(inner.rows):
        for column, cell in enumerate(line.cells):
            cell.text = f"内{row}{column}"
    document.save(path)


def formula_docx(path):
    """A sum, a root, a matrix, and a formula within a sentence that has full-width signs."""
    document = Document()
    math = f'xmlns:m="{files.MATH}"'
    run = "<m:r><m:t>{}</m:t></m:r>"
    total = (
        f'<m:oMathPara {math}><m:oMath><m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr>'
        f"<m:sub>{run.format('i=1')}</m:sub><m:sup>{run.format('n')}</m:sup>"
        f"<m:e><m:rad><m:radPr><m:degHide/></m:radPr><m:deg/><m:e>{run.format('x')}</m:e></m:rad>"
        "</m:e></m:nary></m:oMath></m:oMathPara>"
    )
    document.add_paragraph()._p.append(parse_xml(total))
    sentence = document.add_paragraph("可用率：")
    ratio = f"<m:f><m:num>{run.format('a')}</m:num><m:den>{run.format('b')}</m:den></m:f>"
    sentence._p.append(parse_xml(f"<m:oMath {math}>{ratio}</m:oMath>"))
    sentence.add_run("（单位：％）；见下。")
    document.save(path)


def pptx(path, embedded=None):
    """Grouped shapes, a chart, a diagram, a merged cell, notes and, if given, a Word file."""
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "监控概览"
    group = slide.shapes.add_group_shape().shapes.add_group_shape()
    box = group.shapes.add_textbox(Inches(1), Inches(2), Inches(2), Inches(1))
    box.text_frame.text = "组内文字"
    data = CategoryChartData()
    data.categories = ["一月", "二月"]
    data.add_series("告警数", (3, 5))
    where = (Inches(1), Inches(3), Inches(4), Inches(3))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *where, data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "图 2 每月告警"
    chart.value_axis.has_title = True
    chart.value_axis.axis_title.text_frame.text = "次数（次）"
    table = slide.shapes.add_table(2, 2, Inches(6), Inches(2), Inches(3), Inches(1)).table
    for index, text in enumerate(("合并", "", "左", "右")):
        table.cell(index // 2, index % 2).text = text
    table.cell(0, 0).merge(table.cell(0, 1))
    slide.notes_slide.notes_text_frame.text = "讲稿：提醒看二月"
    _diagram(slide, ("发现", "定位", "恢复"))
    if embedded:
        shape = slide.shapes.add_ole_object(
            str(embedded), "Word.Document.12", Inches(6), Inches(5), Inches(1), Inches(1)
        )
        assert shape is not None
    deck.save(path)


def _diagram(slide, points):
    texts = "".join(
        f"<dgm:pt><dgm:t><a:p><a:r><a:t>{point}</a:t></a:r></a:p></dgm:t></dgm:pt>"
        for point in points
    )
    blob = f"<dgm:dataModel {SPACES}><dgm:ptLst>{texts}</dgm:ptLst></dgm:dataModel>".encode()
    kind = "application/vnd.openxmlformats-officedocument.drawingml.diagramData+xml"
    part = SlidePart(SlideURI("/ppt/diagrams/data1.xml"), kind, slide.part.package, blob)
    rid = slide.part.relate_to(part, f"{REL}/diagramData")
    frame = (
        f'<p:graphicFrame {SPACES}><p:nvGraphicFramePr><p:cNvPr id="77" name="d"/>'
        "<p:cNvGraphicFramePr/><p:nvPr/></p:nvGraphicFramePr><p:xfrm><a:off x='0' y='0'/>"
        f"<a:ext cx='9' cy='9'/></p:xfrm><a:graphic><a:graphicData uri='{DIAGRAM}'>"
        f"<dgm:relIds r:dm='{rid}'/></a:graphicData></a:graphic></p:graphicFrame>"
    )
    slide.shapes._spTree.append(parse_slide_xml(frame))


def xlsx(path):
    """A chart, a comment, a formula never calculated, a hidden sheet."""
    book = Workbook()
    sheet = book.active
    sheet.title = "成本"
    for row, values in enumerate((("月份", "金额"), ("一月", 3), ("二月", "=B2+1")), 1):
        for column, value in enumerate(values, 1):
            sheet.cell(row, column, value)
    sheet["A2"].comment = Comment("含税", "李工")
    chart = BarChart()
    chart.title, chart.y_axis.title = "月度成本", "万元"
    chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=3), titles_from_data=True)
    sheet.add_chart(chart, "E2")
    sheet.merge_cells("A6:B7")
    sheet["A6"] = "合并的说明"
    hidden = book.create_sheet("底稿")
    hidden["A1"] = "旧数据"
    hidden.sheet_state = "hidden"
    book.save(path)


def discuss(path):
    """Write a discussion of cell A3 into the first sheet of the workbook at `path`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    rels = "xl/worksheets/_rels/sheet1.xml.rels"
    kind = "http://schemas.microsoft.com/office/2017/10/relationships/threadedComment"
    link = f'<Relationship Id="t1" Type="{kind}" Target="/xl/threaded.xml"/></Relationships>'
    members[rels] = members[rels].replace(b"</Relationships>", link.encode())
    threads = '<t:ThreadedComments xmlns:t="x"><t:threadedComment ref="A3" id="1"><t:text>要复核'
    members["xl/threaded.xml"] = f"{threads}</t:text></t:threadedComment></t:ThreadedComments>"
    files.archive(path, members)


def ods(path):
    """Two tables of one sheet, behind repeated blank rows and columns."""
    space = "urn:oasis:names:tc:opendocument:xmlns"
    names = " ".join(f'xmlns:{name}="{space}:{name}:1.0"' for name in ("office", "table", "text"))

    def row(*texts, blank=0):
        gap = f'<table:table-cell table:number-columns-repeated="{blank}"/>' if blank else ""
        cells = "".join(
            f'<table:table-cell office:value-type="string"><text:p>{text}</text:p>'
            "</table:table-cell>"
            for text in texts
        )
        return f"<table:table-row>{gap}{cells}</table:table-row>"

    gap = '<table:table-row table:number-rows-repeated="3"><table:table-cell/></table:table-row>'
    rows = gap + row("名称", "地址", blank=2) + row("db-1", "10.0.0.1", blank=2)
    rows += gap + row("名称", "负责人") + row("db-1", "王工")
    files.archive(
        path,
        {
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "content.xml": f'<office:document-content {names} office:version="1.2"><office:body>'
            f'<office:spreadsheet><table:table table:name="主机">{rows}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
            "META-INF/manifest.xml": f'<m:manifest xmlns:m="{space}:manifest:1.0"><m:file-entry'
            ' m:full-path="/" m:media-type="application/vnd.oasis.opendocument.spreadsheet"/>'
            "</m:manifest>",
        },
    )


def attached(name, data):
    """An OLE stream of a file that was dropped into a document, [MS-OLEDS] 2.3.6."""
    label = name.encode("gb18030") + b"\0"
    path = b"C:\\" + label
    buffer = io.BytesIO()
    buffer.write(b"\0" * 4 + b"\2\0" + label + path + b"\0\0\3\0")
    buffer.write(len(path).to_bytes(4, "little") + path)
    buffer.write(len(data).to_bytes(4, "little") + data)
    return buffer.getvalue()


PAGE = """<!doctype html><html><head><title>磁盘告警处理 - 运维手册</title></head><body>
<nav><ul><li><a href="/">首页</a></li><li><a href="/a">目录</a></li></ul></nav>
<main><h1>磁盘告警处理</h1>
<p>磁盘使用率超过 90% 时先确认写入量，再决定清理还是扩容：日志目录最常见，
数据库目录要先问负责人。</p>
<script>var tracked = "不该出现"</script>
<ul><li>登录主机<ul><li>用堡垒机</li></ul></li><li>执行 <code>df -h</code></li></ul>
<table><tr><th rowspan="2">级别</th><th colspan="2">时限</th></tr>
<tr><th>响应</th><th>恢复</th></tr><tr><td>P1</td><td>5 分钟</td><td>1 小时</td></tr></table>
<pre><code>du -sh /var/log/*</code></pre>
<p>清理之后观察十分钟，使用率仍在上涨就升级给值班长，并在工单里写下已经做过的每一步操作。</p></main>
<footer><p>版权所有 运维部</p></footer></body></html>"""
