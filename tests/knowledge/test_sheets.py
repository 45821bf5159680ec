import csv
import io
import zipfile
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils.module_loading import import_string
from django_q.models import OrmQ
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from knowledge import entries, retrieval, sheet_import, sheets
from knowledge.models import Document, Entry, Import, KnowledgeBase
from knowledge.parsing.unreadable import Unreadable
from opsdesk.errors import ParseError

pytestmark = pytest.mark.django_db
ADD = reverse("admin:knowledge_import_add") + "?kind=faq"
SHEET = """编号,问题（必填）,标准答案,相似问法,标签,失效日期
K1,怎么重启 nginx？,nginx -s reload,重载 nginx|nginx 重启,"网关,常用",2030年1月31日
,怎么看日志？,journalctl -u nginx,,,
K3,,没有问题,,,
K4,没有答案？,,,,
K1,编号重复？,甲,,,
K6,怎么看日志,大小写标点之外相同,,,
K7,日期不对？,乙,,,明年
"""


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"
    return tmp_path


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def upload(client, base, content=SHEET, name="问答.csv"):
    data = content if isinstance(content, bytes) else content.encode()
    posted = {"knowledge_base": base.pk, "file": SimpleUploadedFile(name, data)}
    return client.post(ADD, posted, follow=True)


def page_of(row):
    return reverse("admin:knowledge_import_change", args=[row.pk])


def mapped(row, **fields):
    mapping = sheets.Mapping(**row.mapping)
    posted = {f"column_{name}": column for name, column in mapping.columns.items()}
    return {"sheet": mapping.sheet, "header": mapping.header, "publish": "on", **posted, **fields}


def confirm(client, row, **fields):
    client.post(page_of(row), mapped(row, _import="1", **fields))
    import_string(OrmQ.objects.latest("pk").func())(row.pk)  # as the worker would
    row.refresh_from_db()
    return row


def counted(row):
    return row.created, row.updated, row.unchanged, row.failed


def read(path, rows, name="a.csv"):
    path.write_bytes(sheets.to_csv(rows) if name.endswith("csv") else sheets.to_xlsx(rows))
    return sheets.read(path, name)


def test_the_preview_shows_what_would_become_and_names_bad_rows(admin_client, base):
    page = upload(admin_client, base)
    row = Import.objects.get()
    assert page.redirect_chain[-1][0] == page_of(row)
    assert page.context["counts"] == {"new": 2, "changed": 0, "unchanged": 0, "refused": 5}
    assert [one.number for one in page.context["refused"]] == [4, 5, 6, 7, 8]
    assert page.context["mapping"].columns == {
        "key": 0, "question": 1, "answer": 2, "variants": 3, "tags": 4, "expires_on": 5,
    }  # fmt: skip
    assert not Entry.objects.exists()
    html = page.content.decode()
    assert "重载 nginx\nnginx 重启" in html and "2030-01-31" in html


def test_good_rows_are_imported_and_answer_bad_ones_are_listed(admin_client, base):
    upload(admin_client, base)
    row = confirm(admin_client, Import.objects.get())
    assert (row.state, counted(row)) == (Import.State.DONE, (2, 0, 0, 5))
    assert [error["row"] for error in row.errors] == [4, 5, 6, 7, 8]
    first = Entry.objects.get(key="K1")
    assert first.variants == ["重载 nginx", "nginx 重启"] and first.tags == ["网关", "常用"]
    assert retrieval.search("重载", [base]).passages[0].text == "nginx -s reload"
    html = admin_client.get(page_of(row)).content.decode()
    assert all(error["message"] in html for error in row.errors)


def test_what_was_refused_comes_back_as_a_sheet(admin_client, base):
    upload(admin_client, base)
    row = confirm(admin_client, Import.objects.get())
    url = reverse("admin:knowledge_import_refused", args=[row.pk, "csv"])
    lines = list(csv.reader(io.StringIO(admin_client.get(url).content.decode("utf-8-sig"))))
    assert lines[0][2:4] == ["编号", "问题（必填）"]
    assert [(line[0], line[2]) for line in lines[1:]][:2] == [("4", "K3"), ("5", "K4")]
    xlsx = admin_client.get(reverse("admin:knowledge_import_refused", args=[row.pk, "xlsx"]))
    assert len(list(load_workbook(io.BytesIO(xlsx.content)).active.rows)) == 6


def test_nothing_is_imported_twice(admin_client, base):
    upload(admin_client, base)
    first = confirm(admin_client, Import.objects.get())
    sheet_import.run(first.pk)  # delivered again
    upload(admin_client, base, SHEET.replace("nginx -s reload", "systemctl reload nginx"))
    second = confirm(admin_client, Import.objects.latest("pk"))
    assert counted(second) == (0, 1, 1, 5)
    assert Entry.objects.count() == Document.objects.count() == 2
    assert retrieval.search("重载", [base]).passages[0].text == "systemctl reload nginx"


def test_an_import_goes_on_where_it_was_interrupted(admin_client, base, monkeypatch):
    monkeypatch.setattr(sheet_import, "BATCH", 2)
    rows = "问题,答案\n" + "".join(f"问题 {n}？,答案 {n}\n" for n in range(7))
    upload(admin_client, base, rows)
    row = Import.objects.get()
    monkeypatch.setattr(sheet_import, "SECONDS", -1)  # a batch, then the next task
    confirm(admin_client, row)
    assert (row.state, row.done, row.created) == (Import.State.RUNNING, 2, 2)
    monkeypatch.setattr(sheet_import, "SECONDS", 60)
    sheet_import.run(row.pk)
    row.refresh_from_db()
    assert (row.state, row.done, counted(row)) == (Import.State.DONE, 7, (7, 0, 0, 0))


def test_a_changed_mapping_changes_the_preview(admin_client, base):
    page = upload(admin_client, base, "列一,列二\n怎么重启？,看手册\n")
    row = Import.objects.get()
    assert page.context["mapping"].columns == {} and page.context["counts"]["new"] == 0
    missing = admin_client.post(page_of(row), {**mapped(row), "_import": "1"}, follow=True)
    assert [message.level_tag for message in missing.context["messages"]] == ["error"]
    posted = mapped(row, column_question=0, column_answer=1, header=1)
    page = admin_client.post(page_of(row), posted, follow=True)
    assert page.context["counts"]["new"] == 1
    page = admin_client.post(page_of(row), {**posted, "header": 0}, follow=True)
    assert page.context["mapping"].header == 0


def test_rows_may_become_drafts(admin_client, base):
    upload(admin_client, base)
    row = Import.objects.get()
    admin_client.post(page_of(row), mapped(row, publish="", _import="1"))
    sheet_import.run(row.pk)
    assert {one.state for one in Entry.objects.all()} == {Entry.State.DRAFT}
    assert not Document.objects.exists()


def test_gbk_and_workbooks_with_several_sheets(files, base):
    (files / "g.csv").write_bytes(SHEET.encode("gbk"))
    assert sheets.guess(sheets.read(files / "g.csv", "g.csv")).columns["question"] == 1
    book = Workbook()
    book.active.append(["说明"])
    sheet = book.create_sheet("问答")
    sheet.append(["运维问答 2024"])
    sheet.append([])
    sheet.append(["Question", "Answer", "Version"])
    sheet.append(["How?", "So.", 1.0])
    book.save(files / "a.xlsx")
    found = sheets.read(files / "a.xlsx", "a.xlsx")
    mapping = sheets.guess(found)
    assert (mapping.sheet, mapping.header) == (1, 3)
    planned = sheets.plan(base, found[1], mapping)
    assert [(one.number, one.values["version"]) for one in planned] == [(4, "1")]


def bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        archive.writestr("xl/worksheets/sheet1.xml", " " * 100_000_000)


def test_hostile_and_foreign_files_are_refused_with_a_sentence(admin_client, base, files):
    bomb(files / "b.xlsx")
    for name, content in (
        ("b.xlsx", (files / "b.xlsx").read_bytes()),
        ("a.xlsx", b"PK\x03\x04 no zip"),
        ("a.pdf", b"%PDF-1.4"),
        ("a.csv", b""),
        ("a.csv", b"\x7fELF\x02\x01\x01" + bytes(60)),
        ("a.md", "# 不是表".encode()),
    ):
        page = upload(admin_client, base, content, name)
        assert page.status_code == 200 and page.context["form"].errors["file"], name
    assert not Import.objects.exists()


def test_too_many_rows_are_refused(files, monkeypatch):
    monkeypatch.setattr(sheets.records, "ROWS", 2)
    with pytest.raises(ParseError, match="2"):
        read(files / "a.csv", [["问题", "答案"], ["a", "b"], ["c", "d"]])


def test_more_text_than_fits_is_refused(monkeypatch):
    book, file = Workbook(), io.BytesIO()
    for _number in range(20):
        book.active.append(["x" * 100, "y"])
    book.save(file)
    assert len(sheets.records.parse(file.getvalue()).blocks[0].rows) == 20
    monkeypatch.setattr(sheets.records, "CHARACTERS", 2000)
    with pytest.raises(Unreadable):
        sheets.records.parse(file.getvalue())


def test_a_cell_that_breaks_the_reader_is_not_in_the_log(files, caplog):
    book = Workbook()
    book.active.append([42])
    book.save(files / "whole.xlsx")
    with (
        zipfile.ZipFile(files / "whole.xlsx") as whole,
        zipfile.ZipFile(files / "a.xlsx", "w") as broken,
    ):
        for name in whole.namelist():
            broken.writestr(name, whole.read(name).replace(b"<v>42<", b"<v>13812345678 Hunter2<"))
    with pytest.raises(ParseError):
        sheets.read(files / "a.xlsx", "a.xlsx")
    (said,) = [record.log for record in caplog.records if record.message == "parser failed"]
    assert "ValueError" in said and "Hunter2" not in said


def test_cells_that_would_run_are_text_and_come_back(base, files):
    evil = ["=HYPERLINK(1)", "+1", "-1", "@x", "'=x", "\t=1", "＝1+1"]
    for number, text in enumerate(evil):
        Entry.objects.create(
            knowledge_base=base, key=str(number), question=f"问{text}", answer=text
        )
    out = sheets.to_csv(sheets.exported(base.entries.order_by("pk")))
    for line in list(csv.reader(io.StringIO(out.decode("utf-8-sig"))))[1:]:
        assert line[1].startswith("'")
    book = load_workbook(io.BytesIO(sheets.to_xlsx(sheets.exported(base.entries.all()))))
    assert {cell.data_type for row in book.active.rows for cell in row} <= {"s", "n", "inlineStr"}


text = st.text(st.characters(exclude_categories=["Cs", "Co", "Cn"]), max_size=30)
rows = st.lists(st.tuples(text, text, st.lists(text, max_size=3)), max_size=5)


@settings(max_examples=25)
@given(rows)
def test_what_is_exported_comes_back_unchanged(rows):
    held, asked = [], set()
    for question, answer, variants in rows:
        asks, tells = entries.line(question), entries.prose(answer)
        if asks and tells and entries.normal(asks) not in asked:
            asked.add(entries.normal(asks))
            others = sheets.value("variants", "\n".join(map(entries.line, variants)) + "\n")
            held.append(Entry(question=asks, answer=tells, variants=others))
    with NamedTemporaryFile() as file:
        file.write(sheets.to_csv(sheets.exported(held)))
        file.flush()
        found = sheets.read(Path(file.name), "a.csv")
    for entry, row in zip(held, sheets.judged(found[0], sheets.guess(found)), strict=True):
        said = (row.values["question"], row.values["answer"], row.values["variants"])
        assert said == (entry.question, entry.answer, entry.variants)
        assert row.error == ""


def test_a_workbook_comes_back_unchanged_and_the_template_is_good(admin_client, base, files):
    one = Entry.objects.create(
        knowledge_base=base, key="001", question="怎么办？", answer="第一行\n\n- 第二行 | 甲；乙",
        variants=["一个；带分号"], tags=["a", "b"], product="网关", expires_on="2030-01-31",
    )  # fmt: skip
    entries.publish([one])
    for kind in ("xlsx", "csv"):
        response = admin_client.get(reverse("admin:knowledge_entry_export", args=[kind]))
        (files / f"x.{kind}").write_bytes(response.content)
        found = sheets.read(files / f"x.{kind}", f"x.{kind}")
        planned = sheets.plan(base, found[0], sheets.guess(found))
        assert [one.change for one in planned] == ["unchanged"]
        response = admin_client.get(reverse("admin:knowledge_import_template", args=[kind]))
        (files / f"t.{kind}").write_bytes(response.content)
        found = sheets.read(files / f"t.{kind}", f"t.{kind}")
        assert len(sheets.guess(found).columns) == len(sheets.FIELDS)
        planned = sheets.plan(base, found[0], sheets.guess(found))
        assert [one.error for one in planned] == [""]
