"""Elastic Beanstalk's API as far as the `eb` command uses it, and moto for the rest of AWS, in one server on loopback.

moto's own Elastic Beanstalk has no platforms, versions, events or updates, so its place is taken altogether:
requests signed for `elasticbeanstalk` are answered here, from `State`; S3, IAM, EC2 and the others go to moto.
What is sent is the query protocol: a form in, XML out, lists as <member>.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REGION = "eu-west-1"
ACCOUNT = "123456789012"
BRANCH = "Docker running on 64bit Amazon Linux 2023"
STACK = "64bit Amazon Linux 2023 v4.7.2 running Docker"
BUCKET = f"elasticbeanstalk-{REGION}-{ACCOUNT}"
PLATFORM = f"arn:aws:elasticbeanstalk:{REGION}::platform/{BRANCH}/4.7.2"

Form = Mapping[str, str]


@dataclass
class State:
    """What the account holds. Versions carry the place of their bundle, environments the version they run."""

    url: str = ""
    applications: list[str] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    environments: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    options: list[dict[str, str]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)

    def bundle(self, version: str) -> bytes:
        """Bytes of the bundle that a version stands for."""
        place = next(one["SourceBundle"] for one in self.versions if one["VersionLabel"] == version)
        s3 = boto3.client("s3", region_name=REGION, endpoint_url=self.url)
        return bytes(s3.get_object(Bucket=place["S3Bucket"], Key=place["S3Key"])["Body"].read())

    def answer(self, form: Form) -> Any:
        """Result of one action, as nested dictionaries and lists."""
        self.actions.append(form["Action"])
        known: Mapping[str, Callable[[Form], Any]] = {
            "CreateApplication": self._create_application,
            "DescribeApplications": lambda form: {
                "Applications": [self._application(name) for name in self.applications]
            },
            "ListPlatformBranches": lambda form: {"PlatformBranchSummaryList": [_BRANCH]},
            "ListPlatformVersions": lambda form: {"PlatformSummaryList": [_PLATFORM]},
            "DescribePlatformVersion": lambda form: {"PlatformDescription": _PLATFORM},
            "ListAvailableSolutionStacks": lambda form: {"SolutionStacks": [STACK]},
            "CheckDNSAvailability": lambda form: {"Available": "true", "FullyQualifiedCNAME": "x.example.org"},
            "CreateStorageLocation": self._create_storage,
            "CreateApplicationVersion": self._create_version,
            "DescribeApplicationVersions": self._describe_versions,
            "CreateEnvironment": self._create_environment,
            "UpdateEnvironment": self._update_environment,
            "DescribeEnvironments": self._describe_environments,
            "DescribeEvents": lambda form: {"Events": list(reversed(self.events))},
            "ListTagsForResource": lambda form: {"ResourceArn": form.get("ResourceArn", ""), "ResourceTags": []},
        }
        return known[form["Action"]](form)

    def _application(self, name: str) -> dict[str, Any]:
        return {"ApplicationName": name, "ApplicationArn": f"{_ARN}:application/{name}", "Versions": []}

    def _create_application(self, form: Form) -> Any:
        self.applications.append(form["ApplicationName"])
        return {"Application": self._application(form["ApplicationName"])}

    def _create_storage(self, form: Form) -> Any:
        s3 = boto3.client("s3", region_name=REGION, endpoint_url=self.url)
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        return {"S3Bucket": BUCKET}

    def _create_version(self, form: Form) -> Any:
        version = {
            "ApplicationName": form["ApplicationName"],
            "VersionLabel": form["VersionLabel"],
            "SourceBundle": {"S3Bucket": form["SourceBundle.S3Bucket"], "S3Key": form["SourceBundle.S3Key"]},
            "Status": "PROCESSED",
            "DateCreated": _now(),
        }
        self.versions.append(version)
        return {"ApplicationVersion": version}

    def _describe_versions(self, form: Form) -> Any:
        labels = [value for name, value in form.items() if name.startswith("VersionLabels.member")]
        return {"ApplicationVersions": [one for one in self.versions if not labels or one["VersionLabel"] in labels]}

    def _create_environment(self, form: Form) -> Any:
        environment = {
            "EnvironmentName": form["EnvironmentName"],
            "EnvironmentId": f"e-{len(self.environments):010d}",
            "EnvironmentArn": f"{_ARN}:environment/{form['ApplicationName']}/{form['EnvironmentName']}",
            "ApplicationName": form["ApplicationName"],
            "VersionLabel": form.get("VersionLabel", ""),
            "SolutionStackName": STACK,
            "PlatformArn": PLATFORM,
            "CNAME": "atlas.example.org",
            "Status": "Ready",
            "Health": "Green",
            "HealthStatus": "Ok",
            "Tier": {"Name": "WebServer", "Type": "Standard", "Version": "1.0"},
            "DateCreated": _now(),
            "DateUpdated": _now(),
        }
        self.environments.append(environment)
        self.options += _options(form)
        self._tell(environment, f"Successfully launched environment: {environment['EnvironmentName']}")
        return environment

    def _update_environment(self, form: Form) -> Any:
        environment = next(one for one in self.environments if one["EnvironmentName"] == form["EnvironmentName"])
        environment["VersionLabel"] = form.get("VersionLabel", environment["VersionLabel"])
        environment["DateUpdated"] = _now()
        self._tell(environment, "Environment update completed successfully.")
        return environment

    def _describe_environments(self, form: Form) -> Any:
        names = [value for name, value in form.items() if name.startswith("EnvironmentNames.member")]
        return {"Environments": [one for one in self.environments if not names or one["EnvironmentName"] in names]}

    def _tell(self, environment: Mapping[str, Any], message: str) -> None:
        event = {"EventDate": _now(), "Message": message, "Severity": "INFO"}
        self.events.append({**event, **{name: environment[name] for name in ("ApplicationName", "EnvironmentName")}})


_ARN = f"arn:aws:elasticbeanstalk:{REGION}:{ACCOUNT}"
_BRANCH = {
    "PlatformName": "Docker",
    "BranchName": BRANCH,
    "LifecycleState": "Supported",
    "BranchOrder": "100",
    "SupportedTierList": ["WebServer/Standard"],
}
_PLATFORM = {
    "PlatformArn": PLATFORM,
    "PlatformOwner": "AWSElasticBeanstalk",
    "PlatformName": BRANCH,
    "PlatformVersion": "4.7.2",
    "PlatformStatus": "Ready",
    "PlatformCategory": "Docker",
    "PlatformBranchName": BRANCH,
    "PlatformBranchLifecycleState": "Supported",
    "PlatformLifecycleState": "Recommended",
    "SolutionStackName": STACK,
    "OperatingSystemName": "Amazon Linux",
    "OperatingSystemVersion": "2023",
    "SupportedTierList": ["WebServer/Standard"],
}


@contextlib.contextmanager
def running() -> Iterator[State]:
    """The server on loopback until the block ends; its address is in `State.url`."""
    state = State()
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "/elasticbeanstalk/aws4_request" not in environ.get("HTTP_AUTHORIZATION", ""):
            return moto(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        form = dict(parse_qsl(body.decode()))
        try:
            status, text = "200 OK", _response(form["Action"], state.answer(form))
        except KeyError as error:
            status, text = (
                "400 Bad Request",
                f"<ErrorResponse><Error><Code>{escape(str(error))}</Code></Error></ErrorResponse>",
            )
        start_response(status, [("Content-Type", "text/xml")])
        return [text.encode()]

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(WSGIRequestHandler):
    def log(self, *arguments: Any, **others: Any) -> None:
        """Write nothing."""


def _options(form: Form) -> list[dict[str, str]]:
    """Option settings of a form, in order."""
    found: dict[str, dict[str, str]] = {}
    for name, value in form.items():
        parts = name.split(".")
        if parts[0] == "OptionSettings" and len(parts) == 4:
            found.setdefault(parts[2], {})[parts[3]] = value
    return list(found.values())


def _response(action: str, result: Any) -> str:
    out = io.StringIO()
    out.write(f'<{action}Response xmlns="http://elasticbeanstalk.amazonaws.com/docs/2010-12-01/"><{action}Result>')
    _write(out, result)
    out.write(f"</{action}Result><ResponseMetadata><RequestId>test</RequestId></ResponseMetadata></{action}Response>")
    return out.getvalue()


def _write(out: io.StringIO, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            out.write(f"<{name}>")
            _write(out, inner)
            out.write(f"</{name}>")
    elif isinstance(value, list):
        _write_members(out, value)
    else:
        out.write(escape(str(value)))


def _write_members(out: io.StringIO, values: list[Any]) -> None:
    for value in values:
        out.write("<member>")
        _write(out, value)
        out.write("</member>")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
