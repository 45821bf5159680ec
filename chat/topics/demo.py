"""A topic to try with the demo knowledge base."""

from typing import Any

from chat.models import Topic
from chat.topics.schema import DIALECT
from knowledge import demo
from knowledge.models import KnowledgeBase

NAME = "数据库连接失败"
TRIGGERS = [
    "数据库连不上", "连不上数据库", "数据库连接失败", "数据库连接超时", "数据库连接被拒绝",
    "数据库 拒绝连接", "数据库 无法连接", "数据库登录失败",
]  # fmt: skip
EXAMPLES = ["应用连接数据库失败怎么办", "数据库突然连接不上了"]
FIELDS: dict[str, Any] = {
    "product": {
        "title": "数据库类型",
        "x-ask": "是哪种数据库？",
        "enum": ["MySQL", "Oracle", "PostgreSQL", "Redis"],
        "x-synonyms": {"PostgreSQL": ["PG", "postgres"]},
        "x-scope": "product",
    },
    "environment": {
        "title": "环境",
        "x-ask": "出问题的是哪个环境？",
        "enum": ["生产环境", "预发环境", "测试环境"],
        "x-synonyms": {
            "生产环境": ["生产", "线上", "prod"],
            "预发环境": ["预发", "灰度"],
            "测试环境": ["测试", "test"],
        },
        "x-scope": "environment",
        "x-search": False,
    },
    "error": {
        "title": "报错信息",
        "type": "string",
        "format": "error",
        "x-ask": "报错的原文或错误码是什么？",
        "examples": ["ORA-01555", "错误 1040"],
    },
    "version": {
        "title": "版本",
        "type": "string",
        "format": "version",
        "x-ask": "数据库是哪个版本？",
        "examples": ["8.0.32", "19c"],
        "x-scope": "version",
        "x-search": False,
    },
}


def load() -> None:
    """Make the topic, once: what staff changed in it stays so."""
    base = KnowledgeBase.objects.filter(slug=demo.SLUG).first()
    if base is None:
        return
    topic, created = Topic.objects.get_or_create(
        name=NAME,
        defaults={
            "description": "应用或客户端连不上数据库、被拒绝或超时",
            "triggers": TRIGGERS,
            "examples": EXAMPLES,
            "schema": {
                "$schema": DIALECT,
                "type": "object",
                "properties": FIELDS,
                "required": ["product", "environment", "error"],
                "x-order": list(FIELDS),
            },
        },
    )
    if created:
        topic.knowledge_bases.add(base)
