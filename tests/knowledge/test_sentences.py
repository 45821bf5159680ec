from knowledge.sentences import sentences


def test_the_number_of_a_list_item_is_no_sentence():
    text = "步骤如下。\n1. 登录跳板机；\n2. 端口是 5433. 然后重启\n10. Then do it. Really."
    assert sentences(text) == [
        "步骤如下。\n", "1. 登录跳板机；\n", "2. 端口是 5433. ", "然后重启\n", "10. Then do it. ",
        "Really.",
    ]  # fmt: skip
