"""An OpenID provider: Django OAuth Toolkit, one user and whatever clients tests register. `python provider.py PORT DIRECTORY`."""

import json
import pathlib
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings

USER, PASSWORD = "ann", "correct horse"
FORM = "<form method=post>{% csrf_token %}{{ form }}</form>"


def new_key():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, form).decode()


def configure(port, directory):
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        LOGIN_URL="/login/",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(pathlib.Path(directory) / "provider.sqlite3"),
                "OPTIONS": {"timeout": 30},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        # Tables are made as they are now, not by the whole of their history, which takes a while.
        MIGRATION_MODULES={"auth": None, "contenttypes": None, "sessions": None, "oauth2_provider": None},
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": [("django.template.loaders.locmem.Loader", {"registration/login.html": FORM})],
                    "context_processors": ["django.template.context_processors.request"],
                },
            }
        ],
        OAUTH2_PROVIDER={
            "ALWAYS_RELOAD_OAUTHLIB_CORE": True,  # so that settings can change
            "OIDC_ENABLED": True,
            "OIDC_ISS_ENDPOINT": f"http://127.0.0.1:{port}/o",
            "OIDC_RSA_PRIVATE_KEY": new_key(),
            "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
            "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
            "OAUTH2_VALIDATOR_CLASS": f"{__name__}.Validator",
            "SCOPES": {"openid": "", "profile": "", "email": ""},
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
        },
    )
    django.setup()


def validator():
    from oauth2_provider.oauth2_validators import OAuth2Validator

    class Validator(OAuth2Validator):
        oidc_claim_scope = None

        def get_additional_claims(self, request):
            user = request.user
            groups = [group.name for group in user.groups.order_by("name")]
            mail = {"email": user.email, "email_verified": True}
            return mail | {"preferred_username": user.username, "name": user.get_full_name(), "groups": groups}

    return Validator


# What tests change while it runs.


def register(request):
    """A client; another of the same name is replaced."""
    from django.http import JsonResponse
    from oauth2_provider.models import get_application_model

    wanted = json.loads(request.body)
    get_application_model().objects.filter(client_id=wanted["client_id"]).delete()
    secret = wanted.get("client_secret")
    get_application_model().objects.create(
        client_id=wanted["client_id"],
        client_secret=secret or "",
        client_type="confidential" if secret else "public",
        authorization_grant_type="authorization-code",
        redirect_uris=" ".join(wanted["redirect_uris"]),
        post_logout_redirect_uris=" ".join(wanted.get("after_logout", [])),
        algorithm="RS256",
        skip_authorization=True,
    )
    return JsonResponse({})


def change(request):
    """Lifetimes, groups of the user, all sessions that end, the key."""
    from django.contrib.auth.models import Group, User
    from django.http import JsonResponse
    from oauth2_provider.models import get_refresh_token_model
    from oauth2_provider.settings import oauth2_settings

    wanted = json.loads(request.body)
    if "lifetime" in wanted:
        oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS = wanted["lifetime"]
    if "groups" in wanted:
        groups = [Group.objects.get_or_create(name=name)[0] for name in wanted["groups"]]
        User.objects.get(username=USER).groups.set(groups)
    if wanted.get("end"):
        get_refresh_token_model().objects.all().delete()
    if wanted.get("rotate"):
        oauth2_settings.OIDC_RSA_PRIVATE_KEY = new_key()
    return JsonResponse({"refresh_tokens": get_refresh_token_model().objects.count()})


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def address_string(self):
        return self.client_address[0]


def main(port, directory):
    configure(port, directory)
    from django.contrib.auth.models import User
    from django.contrib.auth.views import LoginView
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.urls import include, path
    from django.views.decorators.csrf import csrf_exempt

    module = sys.modules[__name__]
    module.Validator = validator()
    module.urlpatterns = [
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        path("login/", LoginView.as_view()),
        path("test/register", csrf_exempt(register)),
        path("test/change", csrf_exempt(change)),
    ]
    call_command("migrate", run_syncdb=True, verbosity=0)
    if not User.objects.exists():
        names = {"first_name": "Ann", "last_name": "Example"}
        User.objects.create_user(USER, "ann@example.org", PASSWORD, **names)
    make_server("127.0.0.1", port, get_wsgi_application(), Server, Handler).serve_forever()


if __name__ == "__main__":
    sys.modules["provider"] = sys.modules["__main__"]
    main(int(sys.argv[1]), sys.argv[2])
