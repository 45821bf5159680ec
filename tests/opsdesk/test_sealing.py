from django.test import override_settings

from opsdesk.sealing import seal, unseal


def test_what_is_sealed_opens_again_and_does_not_show() -> None:
    sealed = seal({"token": "s3cret", "n": 1})
    assert "s3cret" not in sealed
    assert unseal(sealed) == {"token": "s3cret", "n": 1}


def test_another_key_does_not_open_it() -> None:
    sealed = seal("s3cret")
    with override_settings(SECRET_KEY="x" * 50):
        assert unseal(sealed) is None
    assert unseal("") is None
