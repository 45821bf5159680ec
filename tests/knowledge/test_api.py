import json

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from rest_framework.test import APIClient

from knowledge import tasks
from knowledge.models import Document, KnowledgeBase, Revision
from opsdesk.models import ApiToken

pytestmark = pytest.mark.django_db
DOCUMENTS = "/api/v1/documents/"


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "files"


@pytest.fixture
def base():
    return KnowledgeBase.objects.create(slug="ops", name="Ops")


def client(*permissions, scope=ApiToken.Scope.WRITE, **headers):
    user, _ = User.objects.get_or_create(username="-".join(permissions) or "reader")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    token = ApiToken(user=user, name="test", scope=scope)
    raw = token.generate()
    token.save()
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}", **headers)
    return api


@pytest.fixture
def writer(base):
    return client("add_document", "delete_document", "view_document")


def text(base="ops", **more):
    return {
        "knowledge_base": base,
        "title": "重启",
        "text": "# 重启\n\nsystemctl restart nginx",
        **more,
    }


def process(answer):
    tasks.process(Document.objects.get(pk=answer.json()["id"]).latest_id)


def test_a_file_is_uploaded_and_followed_until_it_is_ready(writer):
    file = SimpleUploadedFile("手册.md", "# 重启\n\nsystemctl restart nginx".encode())
    answer = writer.post(DOCUMENTS, {"knowledge_base": "ops", "file": file, "external_id": "a"})
    assert answer.status_code == 202, answer.content
    told = answer.json()
    assert (told["status"], told["title"], told["name"]) == ("queued", "手册", "手册.md")
    process(answer)
    now = writer.get(f"{DOCUMENTS}{told['id']}/").json()
    assert (now["status"], now["chunks"], now["answering"], now["error"]) == ("ready", 1, True, "")
    assert now["pages"] is None and now["external_id"] == "a" and now["origin"] == "api"


def test_text_is_uploaded_as_json_and_replaced_by_its_external_id(writer):
    first = writer.post(DOCUMENTS, text(external_id="a"), format="json")
    process(first)
    again = writer.post(DOCUMENTS, text(external_id="a"), format="json")
    assert again.json()["id"] == first.json()["id"] and Revision.objects.count() == 1
    changed = writer.post(DOCUMENTS, text(external_id="a", text="nginx -s reload"), format="json")
    assert changed.json()["id"] == first.json()["id"] and changed.json()["status"] == "queued"
    assert changed.json()["answering"] and changed.json()["chunks"] == 1


def test_a_file_that_cannot_be_read_fails_with_a_sentence(writer):
    file = SimpleUploadedFile("program.pdf", b"\x7fELF\x02\x01\x01" + bytes(60))
    answer = writer.post(DOCUMENTS, {"knowledge_base": "ops", "file": file})
    assert answer.status_code == 202
    assert answer.json()["status"] == "failed" and len(answer.json()["error"]) > 5


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"knowledge_base": "ops"},
        {"knowledge_base": "ops", "text": "without a title"},
        {"knowledge_base": "nowhere", "title": "a", "text": "a"},
        {"knowledge_base": "ops", "title": "a", "text": ""},
    ],
)
def test_what_is_wrong_with_an_upload_is_said(writer, body):
    answer = writer.post(DOCUMENTS, body, format="json")
    assert answer.status_code == 400 and answer.json()
    assert not Document.objects.exists()


def test_a_file_over_the_limit_is_refused(writer, settings):
    settings.UPLOAD_MAX_BYTES = 10
    file = SimpleUploadedFile("a.txt", b"more than ten")
    answer = writer.post(DOCUMENTS, {"knowledge_base": "ops", "file": file})
    assert answer.status_code == 400 and "file" in answer.json()


def test_errors_are_in_the_language_asked_for(base):
    english = client("add_document", HTTP_ACCEPT_LANGUAGE="en")
    chinese = client("add_document", HTTP_ACCEPT_LANGUAGE="zh-CN")
    body = {"knowledge_base": "ops"}
    assert "either a file or text" in english.post(DOCUMENTS, body, format="json").content.decode()
    told = json.loads(chinese.post(DOCUMENTS, body, format="json").content)
    assert told["non_field_errors"][0] == "请提供文件或文本，二者选一。"


def test_documents_are_listed_and_filtered(writer):
    process(writer.post(DOCUMENTS, text(external_id="a"), format="json"))
    writer.post(DOCUMENTS, text(title="b", text="b"), format="json")

    def titles(**query):
        return [row["title"] for row in writer.get(DOCUMENTS, query).json()["results"]]

    assert titles() == ["b", "重启"]
    assert titles(status="ready") == titles(external_id="a") == ["重启"]
    assert titles(knowledge_base="other") == []


def test_a_document_is_deleted(writer):
    answer = writer.post(DOCUMENTS, text(), format="json")
    assert writer.delete(f"{DOCUMENTS}{answer.json()['id']}/").status_code == 204
    assert not Document.objects.exists()


def test_a_search_keeps_to_its_scope(writer):
    process(writer.post(DOCUMENTS, text(), format="json"))
    Document.objects.update(product="网关", tags=["nginx"])
    query = {"knowledge_base": "ops", "query": "怎么重启 nginx"}
    for scope, number in (({"product": "网关"}, 1), ({"tags": ["db"]}, 0), ({"product": ""}, 1)):
        answer = writer.post("/api/v1/search/", query | scope, format="json")
        assert len(answer.json()["passages"]) == number
    assert writer.post("/api/v1/search/", query | {"tags": "x" * 60}).status_code == 400


def test_searching_finds_what_was_uploaded(writer):
    process(writer.post(DOCUMENTS, text(external_id="a"), format="json"))
    answer = client(scope=ApiToken.Scope.READ).post(
        "/api/v1/search/",
        {"knowledge_base": "ops", "query": "怎么重启 nginx", "top_k": 3},
        format="json",
    )
    assert answer.status_code == 200, answer.content
    found = answer.json()
    passage = found["passages"][0]
    assert set(passage) == {
        "chunk",
        "document",
        "external_id",
        "title",
        "page",
        "locator",
        "text",
        "score",
        "stages",
        "hits",
    }
    assert passage["hits"] and found["mode"] == "words" and isinstance(found["sure"], bool)
    stages = {stage["stage"]: stage for stage in passage["stages"]}
    assert stages["ranked"]["place"] == stages["words"]["place"] == 1
    assert stages["words"]["value"] > 0
    assert passage["external_id"] == "a" and "systemctl" in passage["text"]
    assert 0 <= passage["score"] <= 1 and 0 <= found["confidence"] <= 1


def test_without_a_token_nothing_is_told(base):
    api = APIClient()
    assert api.get(DOCUMENTS).status_code == 401
    assert api.post("/api/v1/search/", {}, format="json").status_code == 401


def test_writing_needs_the_permission_and_a_writing_token(base, writer):
    assert client().post(DOCUMENTS, text(), format="json").status_code == 403
    reading = client("add_document", scope=ApiToken.Scope.READ)
    assert reading.post(DOCUMENTS, text(), format="json").status_code == 403
    pk = writer.post(DOCUMENTS, text(), format="json").json()["id"]
    assert client("add_document").delete(f"{DOCUMENTS}{pk}/").status_code == 403
    assert client().post("/api/v1/knowledge-bases/", {}, format="json").status_code == 403


def test_a_base_of_others_is_as_if_it_were_not_there(base, writer):
    pk = writer.post(DOCUMENTS, text(), format="json").json()["id"]
    base.audience = KnowledgeBase.Audience.GROUPS
    base.save()
    stranger = client("add_document", "view_document")
    query = {"knowledge_base": "ops", "query": "重启"}
    assert stranger.post("/api/v1/search/", query, format="json").status_code == 404
    assert stranger.post(DOCUMENTS, text(), format="json").status_code == 404
    assert stranger.get(f"{DOCUMENTS}{pk}/").status_code == 404
    assert stranger.get("/api/v1/knowledge-bases/").json()["results"] == []


def test_what_nobody_approved_is_listed_for_curators_only(base, writer):
    process(writer.post(DOCUMENTS, text(), format="json"))
    Document.objects.update(approved_at=None)
    assert client().get(DOCUMENTS).json()["count"] == 0
    assert writer.get(DOCUMENTS).json()["results"][0]["answering"] is False
    query = {"knowledge_base": "ops", "query": "重启"}
    assert client().post("/api/v1/search/", query, format="json").json()["passages"] == []


def test_knowledge_bases_are_made_and_listed_by_slug(db):
    maker = client("add_knowledgebase")
    made = maker.post("/api/v1/knowledge-bases/", {"slug": "net", "name": "网络"}, format="json")
    assert made.status_code == 201, made.content
    assert made.json()["audience"] == "signed_in"
    assert maker.get("/api/v1/knowledge-bases/net/").json()["name"] == "网络"
    assert [row["slug"] for row in maker.get("/api/v1/knowledge-bases/").json()["results"]] == [
        "net"
    ]
    again = maker.post("/api/v1/knowledge-bases/", {"slug": "net", "name": "x"}, format="json")
    assert again.status_code == 400 and "slug" in again.json()


def test_the_schema_is_complete(tmp_path):
    path = tmp_path / "schema.json"
    call_command(
        "spectacular", format="openapi-json", file=str(path), validate=True, fail_on_warn=True
    )
    schema = json.loads(path.read_text())
    upload = schema["paths"]["/api/v1/documents/"]["post"]
    assert set(upload["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    component = upload["requestBody"]["content"]["multipart/form-data"]["schema"]["$ref"]
    fields = schema["components"]["schemas"][component.rpartition("/")[2]]["properties"]
    assert fields["file"]["format"] == "binary"
    assert "202" in upload["responses"]
    search = schema["paths"]["/api/v1/search/"]["post"]
    assert search["requestBody"]["content"]["application/json"]["examples"]
    assert search["responses"]["200"]["content"]["application/json"]["examples"]


@pytest.mark.django_db(transaction=True)
def test_a_nul_is_the_callers_mistake(writer):
    search = {"knowledge_base": "op\0s", "query": "nginx"}
    answers = [
        writer.get(DOCUMENTS, {"external_id": "\0"}),
        writer.get("/api/v1/knowledge-bases/%00/"),
        writer.post("/api/v1/search/", search, format="json"),
    ]
    assert {answer.status_code for answer in answers} <= {400, 404}
