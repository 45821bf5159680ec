import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.masking import LABELS, mask

HIDDEN = [
    ("我的手机13812345678，随时打", "mobile", "我的手机【手机号】，随时打"),
    ("电话 +86 138-1234-5678", "mobile", "电话 【手机号】"),
    ("微信同号１３９１２３４５６７８", "mobile", "微信同号【手机号】"),
    ("138\u200b12345678", "mobile", "【手机号】"),
    ("座机 0755-86543210 转财务", "phone", "座机 【电话】 转财务"),
    ("(010) 8234 5678", "phone", "【电话】"),
    ("联系：02088765432", "phone", "联系：【电话】"),
    ("身份证11010519491231002X", "id_card", "身份证【身份证号】"),
    ("身份证号：110105491231002", "id_card", "身份证号：【身份证号】"),
    ("卡号 6222 0212 3456 7894", "bank_card", "卡号 【银行卡号】"),
    ("发到 li.lei+ops@example.com.cn。", "email", "发到 【邮箱】。"),
    ("密码：Abc@1234，登录试试", "secret", "密码：【密码】，登录试试"),
    ("root 密码是 P@ssw0rd!", "secret", "root 密码是 【密码】"),
    ("新密码 Qwer1234 已发", "secret", "新密码 【密码】 已发"),
    ("DB_PASSWORD=hunter22 ./run", "secret", "DB_PASSWORD=【密码】 ./run"),
    ('{"access_token": "a8f5f167f44f4964e6c9"}', "secret", '{"access_token": "【密码】"}'),
    ("AK: LTAI5tQZabcdEFGHijkl", "token", "AK: 【令牌】"),
    ("SK=7Hk2mVbQx9LpRtYw", "secret", "SK=【密码】"),
    ("mysql -uroot -pS3cret! -h db1", "secret", "mysql -uroot -p【密码】 -h db1"),
    ("redis://:s3cr3t@10.0.0.5:6379/0", "secret", "redis://:【密码】@10.0.0.5:6379/0"),
    (
        "curl -H 'Authorization: Bearer abc.def-123456'",
        "token",
        "curl -H 'Authorization: Bearer 【令牌】'",
    ),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "token", "【令牌】"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n好",
        "private_key",
        "【私钥】\n好",
    ),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "private_key", "【私钥】"),
    ("验证码：482913", "secret", "验证码：【密码】"),
    ("redis-cli -h 10.0.0.5 -a S3cret! ping", "secret", "redis-cli -h 10.0.0.5 -a 【密码】 ping"),
    (r'{"a": "{\"password\":\"hunter22\"}"}', "secret", r'{"a": "{\"password\":\"【密码】\"}"}'),
    ("Cookie: sid=8f14e45f; theme=dark", "token", "Cookie: 【令牌】"),
    ("JSESSIONID=8F14E45FCEEA167A", "secret", "JSESSIONID=【密码】"),
    ("/webhook/send?key=693a91f6-7abc-4bc4", "secret", "/webhook/send?key=【密码】"),
    ("root:$6$rounds$aBcDeFgHiJkLmNoP:19000:0", "token", "root:【令牌】:19000:0"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "secret", "AWS_SECRET_ACCESS_KEY=【密码】"),
    ("密码Abc@1234", "secret", "密码【密码】"),
    ("root密码Abc@1234登不上", "secret", "root密码【密码】登不上"),
    ("账号admin 密码Qwer1234", "secret", "账号admin 密码【密码】"),
    ("密码（Abc@1234）不对", "secret", "密码（【密码】）不对"),
    ("密码 admin@x", "secret", "密码 【密码】"),
    ("pwd是Abc12345", "secret", "pwd是【密码】"),
    ("token是abcdef123456", "secret", "token是【密码】"),
    ("api key是 abcd1234efgh5678", "secret", "api key是 【密码】"),
    ("my password is Hunter2024!", "secret", "my password is 【密码】"),
]
KEPT = [
    "升级到 1.13.8 还是 8.0.36-28.1？",
    "10.138.123.45:6379 连不上",
    "ORA-01555: snapshot too old",
    "错误码 0x80070005，返回码 40029",
    "订单号：13812345678 查不到",
    "trace_id=6222021234567894",
    "commit_ts: 418288389081202688 和 433245573011767297",  # a clock, and it passes for a card
    "token := c.GetHeader('x')",
    "时间戳 1715500000000 和 1715500000",
    "流水 20240513812345678901",
    "2024-05-01 10:00:00,123 ERROR [main] java.lang.NullPointerException",
    "密码忘记了怎么办？密码：忘了",
    "password authentication failed for user root",
    "password: required",
    "token 过期后怎么刷新",
    "max_tokens=4096, tokens: 500",
    "secretName: nginx-tls",
    "密码长度为 8-20 位",
    "密码MD5加密还是密码SHA256加密",
    "root密码MySQL8.0怎么重置",
    "忘记密码Windows10怎么办",
    "密码default_password_lifetime=90是什么意思",
    "pwd是/data/app1/logs",
    "token is 128-bit",
    "is the password case-sensitive?",
    "my password expired! how to reset?",
    "PASSWORD=${DB_PASSWORD}",
    "git@github.com:a/b.git",
    "ssh root@10.0.0.1",
    "scp a.txt deploy@host.example.com:/tmp",
    "ssh root@db1.example.com 连不上",
    "SESSION_COOKIE_SECURE 设为 True，cookie: 浏览器不带",
    "镜像 sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "容器 3f4e2a1b9c8d 退出，exit code 137",
    "uuid 550e8400-e29b-41d4-a716-446655440000",
    "commit 8f14e45fceea167a5a36dedd4bea2543",
    "服务热线 400-820-8820，95588",
    "SN-021-20240512",
    "kubectl -n kube-system get pod",
    "身份证 110105194912310021",  # the checksum is wrong
    "订单 110105491231002",
    "https://example.com/docs?page=12345678901",
]


@pytest.mark.parametrize(("text", "kind", "masked"), HIDDEN)
def test_what_must_not_be_stored_is_masked(text, kind, masked):
    result = mask(text)
    assert result.text == masked
    assert result.counts == {kind: 1}


@pytest.mark.parametrize("text", KEPT)
def test_what_is_asked_about_stays(text):
    assert mask(text).text == text
    assert mask(text).counts == {}


def test_addresses_of_mail_stay_on_demand():
    assert mask("a@b.cn 13812345678", email=False).text == "a@b.cn 【手机号】"


words = st.sampled_from([text for text, _, _ in HIDDEN] + KEPT)


@given(st.lists(words | st.text(max_size=20), max_size=5).map("\n".join))
def test_masking_twice_changes_nothing_and_labels_are_counted(text):
    once = mask(text)
    assert mask(once.text).text == once.text
    labels = sum(once.text.count(label) for label in LABELS.values())
    assert labels - sum(text.count(label) for label in LABELS.values()) == sum(once.counts.values())


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.sampled_from(["", "，", "\n", "（"]))
def test_no_mobile_number_is_left(number, beside):
    assert number not in mask(f"打{beside}{number}{beside}吧").text


@pytest.mark.parametrize("text", ["a" * 50_000, "a.b-" * 15_000, "1" * 50_000, "mysql " * 9_000])
def test_long_text_takes_no_time(text):
    started = time.thread_time()
    mask(text)
    assert time.thread_time() - started < 2
