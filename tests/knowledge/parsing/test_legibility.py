import pytest

from knowledge.parsing import legibility
from knowledge.parsing.document import Asset, Block

TEXT = "网络设备巡检手册：检查交换机端口的状态，谢谢大家。重启之后要确认业务是否恢复。" * 5
ENGLISH = "Restart the service and check that the queue is empty before you leave. " * 4


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        ENGLISH,
        TEXT.encode("gbk").decode("gbk"),
        "臺灣機房設備維護手冊，請確認網路與電源狀態。" * 4,
        "Überprüfen Sie die Größe der Datei, bevor Sie den Dienst neu starten. " * 3,
        "\uf0b7 检查磁盘\n" * 2 + TEXT,  # bullets of a symbol font
        "192.168.1.1 00:1A:2B:3C:4D:5E 0x7fff8a2c " * 6,
        "\ufffe123",
    ],
)
def test_what_is_written_is_not_suspected(text):
    assert not legibility.suspicious(text)


@pytest.mark.parametrize(
    "text",
    [
        TEXT.encode("gbk").decode("latin-1"),  # bytes of one encoding as another
        "".join(chr(0xE000 + ord(one) % 0x1000) for one in TEXT),  # private use
        "".join(chr(ord(one) + 0x333) for one in TEXT),  # a table of characters that slipped
        "".join(chr(ord(one) - 29) for one in ENGLISH),  # glyph numbers for characters
        TEXT.translate({ord(one): "\ufffd" for one in "网络设备巡检手册"}),
    ],
)
def test_what_nobody_writes_is(text):
    assert legibility.suspicious(text)


def test_the_layer_is_believed_when_it_says_what_is_seen():
    assert legibility.agrees(TEXT, TEXT.replace("：", ":").replace("巡检", "巡捡"))
    assert not legibility.agrees(TEXT.encode("gbk").decode("latin-1"), TEXT)
    assert legibility.agrees(TEXT, "")  # nothing was recognised


def test_doubled_characters_stand_once():
    blocks = [
        Block("heading", "网网络络设设备备  巡巡检检手手册册"),
        Block("table", rows=[["主主机机", "地地址址"]], asset=0),
        Block("paragraph", "谢谢大家，请高高兴兴地来。"),
    ]
    asset = Asset("table", html='<table><tr><td rowspan="11">主主机机</td></tr></table>')
    legibility.undouble(blocks, [asset])
    assert [block.text for block in blocks] == [
        "网络设备  巡检手册",
        "",
        "谢谢大家，请高高兴兴地来。",
    ]
    assert blocks[1].rows == [["主机", "地址"]]
    assert asset.html == '<table><tr><td rowspan="11">主机</td></tr></table>'


def test_a_few_doubled_characters_may_be_meant():
    blocks = [Block("paragraph", "aabbccdd")]
    legibility.undouble(blocks, [])
    assert blocks[0].text == "aabbccdd"
