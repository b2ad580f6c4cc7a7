"""The commands of the operator's pages that need a container engine, as they stand there, in an order in which they can be executed.

tests/deploy/test_operating_docs.py sees to it that this table has all of them and no others; test_9_documented.py runs them.
"""

from dataclasses import dataclass

_IN_AUTHORITY = "docker compose run --rm --entrypoint /bin/sh certificate -c "
_NO_IMAGES = "the images of the observers cannot be had everywhere; that Compose knows the profile is seen"


@dataclass(frozen=True)
class Documented:
    """A command, and where it is not executed as it stands, what is executed in its place and why."""

    text: str
    instead: str = ""
    why: str = ""

    @property
    def executed(self) -> str:
        """Return what is executed."""
        return self.instead or self.text


DOCUMENTED = (
    Documented("make compose-up"),
    Documented("docker compose up --detach --wait --wait-timeout 300"),
    Documented('docker compose ps --all --format "table {{.Service}}\\t{{.Status}}"'),
    Documented("docker compose ps --all"),
    Documented(
        "make compose-certificate CERTIFICATE='filer acme' TO=certificates",
        "make compose-certificate CERTIFICATE='filer acme' TO=$SCRATCH/certificates",
        "a test writes nothing into the checkout",
    ),
    Documented("docker compose run --rm command-line stats --by lane"),
    Documented("docker compose exec risk id -u"),
    Documented("docker compose exec clearance-store df -h /luxor/data"),
    *(
        Documented(f"docker compose logs --no-log-prefix --since 30m {service}")
        for service in ("ingestion", "risk", "revenue", "clearance", "statistics")
    ),
    Documented(
        "docker compose logs --no-log-prefix --since 30m clearance"
        ' | jq -cR \'sub("^[^{]*"; "") | fromjson? | select(.level == "error")\''
    ),
    Documented("docker compose logs --no-log-prefix --since 30m ingestion clearance"),
    Documented("docker compose logs --no-log-prefix --tail 200 revenue"),
    Documented("docker compose logs --no-log-prefix --tail 100 risk"),
    Documented("docker compose logs --tail 100 clearance-store"),
    Documented(
        "docker compose logs --tail 100 collector",
        "docker compose --profile watch config --services | grep -x collector",
        _NO_IMAGES,
    ),
    Documented("make compose-renew"),
    Documented(
        _IN_AUTHORITY + "'cd /volumes/authority/luxor && LUXOR_TLS_DIR=next luxor certificate issue operator operator-1"
        " && cp ca.crt old.crt && cat old.crt next/ca.crt > both.crt && mv both.crt ca.crt'"
    ),
    Documented("make compose-renew"),
    Documented(
        _IN_AUTHORITY + "'cd /volumes/authority/luxor && cat next/ca.crt old.crt > both.crt && cp next/ca.key ca.key"
        " && mv both.crt ca.crt && rm -rf service operator officer analyst carrier filer agency gateway treasury'"
    ),
    Documented("make compose-renew"),
    Documented(_IN_AUTHORITY + "'cd /volumes/authority/luxor && mv next/ca.crt ca.crt && rm -r next old.crt'"),
    Documented("make compose-renew"),
    # The services have taken the new certificates up, and refuse the old.
    Documented("docker compose run --rm command-line stats --by lane"),
    Documented("docker compose run --rm --entrypoint /bin/cat certificate /volumes/authority/passwords/grafana"),
    Documented(
        "make compose-firewall",
        "make compose-firewall && make compose-firewall RULES=remove",
        "a test leaves no rules behind; test_2_closed.py tries what they refuse",
    ),
    Documented(_IN_AUTHORITY + "'rm /volumes/authority/passwords/risk'"),
    Documented("docker compose run --rm prepare"),
    Documented("docker compose restart risk-store risk"),
    Documented(
        "make image IMAGE=luxor:next",
        "docker tag $LUXOR_IMAGE $LUXOR_IMAGE-next",
        "test_1_image.py has built it already",
    ),
    Documented(
        'make image IMAGE_ARGS="--build-arg PYTHON_IMAGE=registry.example/python:3.13-slim --secret id=pip,src=pip.conf"',
        'make --dry-run image IMAGE_ARGS="--build-arg PYTHON_IMAGE=registry.example/python:3.13-slim"',
        "no registry has that name; engine.py builds with these very arguments",
    ),
    Documented(
        "for each in statistics clearance revenue risk ingestion; do"
        " LUXOR_IMAGE=luxor:next docker compose up --detach --no-deps --wait $each; done",
        "for each in statistics clearance revenue risk ingestion; do"
        " LUXOR_IMAGE=$LUXOR_IMAGE-next docker compose up --detach --no-deps --wait $each || exit 1; done",
        "the name of the image under test",
    ),
    Documented(
        "make compose-up IMAGE=luxor:next",
        "LUXOR_IMAGE=$LUXOR_IMAGE-next make compose-up",
        "the name of the image under test",
    ),
    Documented(
        "make compose-up PROFILES=stores,watch",
        "docker compose --profile stores --profile watch config --quiet",
        _NO_IMAGES,
    ),
    Documented("make compose-down"),
    Documented("make compose-down DATA=drop"),
)
