"""Labels as sheets, out and in."""

import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from openpyxl import load_workbook

from evaluation import claiming, labelling, pooling
from evaluation.labelling import Form
from evaluation.models import Label, Relevance
from knowledge.models import Chunk
from tests.evaluation import drawn
from tests.evaluation.drawn import answered, narrow, of
from tests.knowledge import documents

pytestmark = pytest.mark.django_db


def bring(client, sample, rows, name="labels.csv"):
    text = "\n".join(",".join(row) for row in rows)
    file = SimpleUploadedFile(name, text.encode("utf-8-sig"))
    return client.post(
        reverse("admin:evaluation_sample_import", args=[sample.pk]), {"file": file}
    ).context["brought"]


def test_labels_go_out_and_come_back_unchanged(client, sample, ann, bob, sampler):
    for user, note in ((ann, '=HYPERLINK("http://x")'), (bob, "好，“引号”\n换行")):
        for _n in range(3):
            claimed = claiming.claim(sample, user)
            kind = labelling.kinds(claimed.item)[1]
            form = Form(kind, note, frozenset({1}), frozenset({2}), seconds=3)
            labelling.finish(claimed, form)
    client.force_login(sampler)
    for kind in ("csv", "xlsx"):
        url = reverse("admin:evaluation_sample_export", args=[sample.pk, kind])
        sheet = client.get(url).content
        if kind == "csv":
            assert "'=HYPERLINK" in sheet.decode("utf-8-sig")
        else:
            rows = list(load_workbook(io.BytesIO(sheet)).active.iter_rows())
            assert len(rows) == 7
            assert all(cell.data_type != "f" for row in rows for cell in row)
        file = SimpleUploadedFile(f"labels.{kind}", sheet)
        page = client.post(
            reverse("admin:evaluation_sample_import", args=[sample.pk]), {"file": file}
        )
        brought = page.context["brought"]
        assert (brought.labelled, brought.unchanged, brought.refused) == (0, 6, []), kind


def test_a_sheet_holds_what_one_may_read(client, sample, base, ann, eve):
    sheet = reverse("admin:evaluation_sample_export", args=[sample.pk, "csv"])
    item = answered(sample)
    client.force_login(ann)
    assert "重启" not in client.get(sheet + "?mine").content.decode()  # no passages yet
    pooling.pool_all(sample.pk)
    assert client.get(sheet + "?mine").content.decode().count("怎么重启？") == 3
    for user in (ann, eve):
        labelling.finish(of(item, user), Form("wrong"))
    client.force_login(eve)
    assert "怎么重启" in client.get(sheet).content.decode()
    narrow(eve, documents.base("elsewhere"))
    assert "怎么重启" not in client.get(sheet).content.decode()


def test_a_sheet_decides_on_the_passages_that_it_lists(client, base, sampler, ann, bob, eve):
    drawn.turn(base)
    sample = drawn.draw(sampler, 1)
    item = sample.items.get()
    pooling.pool(item)
    client.force_login(ann)
    url = reverse("admin:evaluation_sample_export", args=[sample.pk, "csv"]) + "?mine"
    header, row = csv.reader(io.StringIO(client.get(url).content.decode("utf-8-sig")))
    of_row = dict(zip(header, row, strict=True))
    assert [line[:3] for line in of_row["候选段落"].split("\n")] == ["1. ", "2. ", "3. "]
    assert of_row["回答"].split("\n")[1].startswith("2. ")
    documents.put(base, "值班经理的电话在墙上。")
    later = pooling.add(item, Chunk.objects.get(text__contains="墙上"))
    labels = {}
    for user, said in ((ann, ""), (bob, "0"), (eve, "2, 3")):
        Label.objects.all().delete()
        client.force_login(user)
        rows = [header, list({**of_row, "标注员": "", "结论": "right", "相关段落": said}.values())]
        cells = [[f'"{cell}"' for cell in cells] for cells in rows]
        assert bring(client, sample, cells).labelled == 1
        marks = Relevance.objects.order_by("passage__pk")
        labels[said] = [one.relevant for one in marks]
        assert not marks.filter(passage=later).exists()
        assert bring(client, sample, cells).unchanged == 1
        Relevance.objects.all().delete()
    # As usual, none, and what was named.
    assert labels == {"": [True, False, False], "0": [False] * 3, "2, 3": [False, True, True]}
    plain = [["item", "verdict", "relevant passages"], ["1", "right", "1"]]
    Label.objects.all().delete()
    assert bring(client, sample, plain).labelled == 1
    assert not later.judged.exists()


def test_a_mark_that_is_added_to_a_finished_row_is_refused(client, base, sampler, ann):
    drawn.turn(base)
    sample = drawn.draw(sampler, 1)
    item = sample.items.get()
    pooling.pool(item)
    client.force_login(ann)
    header = ["item", "verdict", "relevant passages"]
    assert bring(client, sample, [header, ["1", "right", "1"]]).labelled == 1
    documents.put(base, "值班经理的电话在墙上。")
    pooling.add(item, Chunk.objects.get(text__contains="墙上"))
    assert bring(client, sample, [header, ["1", "right", "1"]]).unchanged == 1
    brought = bring(client, sample, [header, ["1", "right", '"1, 4"']])
    assert (brought.unchanged, [row for row, _why in brought.refused]) == (0, [2])


def test_a_sheet_repeats_little_of_long_passages(client, base, sampler, ann):
    documents.put(base, "怎么重启：先看日志，再执行命令。" * 20)
    drawn.turn(base)
    sample = drawn.draw(sampler, 1)
    pooling.pool(sample.items.get())
    client.force_login(ann)
    url = reverse("admin:evaluation_sample_export", args=[sample.pk, "csv"]) + "?mine"
    header, row = csv.reader(io.StringIO(client.get(url).content.decode("utf-8-sig")))
    listed = row[header.index("候选段落")].split("\n")
    assert any(line.endswith("…") for line in listed)
    assert max(map(len, listed)) < 100


def test_a_sheet_labels_and_says_which_rows_cannot(client, sample, ann):
    client.force_login(ann)
    item = answered(sample)
    refused = sample.items.get(answered=False)
    brought = bring(
        client,
        sample,
        [
            [
                "item",
                "verdict",
                "unsupported sentences",
                "relevant passages",
                "rater",
                "note",
                "repeated sentences",
            ],
            [str(item.position), "wrong", "2", '"1, 3"', "", "来自表格", "2"],
            [str(refused.position), "right", "", "", "", "", ""],
            ["99", "right", "", "", "", "", ""],
            [str(item.position), "partly", "", "", "bob", "", ""],
            [str(item.position), "wrong", "7", "", "ann", "", ""],
            [str(refused.position), "", "", "", "", "ohne", ""],
        ],
    )
    assert brought.labelled == 1
    assert [row for row, _why in brought.refused] == [3, 4, 5, 6]
    assert all(why for _row, why in brought.refused)
    label = Label.objects.done().get()
    assert (label.kind, label.note) == ("wrong", "来自表格")
    assert label.sentences == [
        {"n": 1, "supported": True}, {"n": 2, "supported": False, "again": True},
    ]  # fmt: skip
    assert Relevance.objects.filter(relevant=True).count() == 2
    page = client.post(
        reverse("admin:evaluation_sample_import", args=[sample.pk]),
        {"file": SimpleUploadedFile("x.csv", b"a,b\n1,2\n")},
    )
    assert page.context["form"].errors
