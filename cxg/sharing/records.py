"""The records of links, one small file for each in a hidden folder of the dataroot; to remove one revokes its link."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cxg.aws.calls import split_s3
from cxg.errors import ConfigError, StorageUnavailable
from cxg.sharing.token import Share
from cxg.storage.listing import is_s3

FOLDER = ".cxg-shares"
MOST_BYTES = 4096
MOST_NOTE = 500
_ID = re.compile(r"[A-Za-z0-9_-]{8,40}")


@dataclass(frozen=True, slots=True)
class Record:
    """A link that was made: what it opens, when it was made, and a note of who made it."""

    share: Share
    made: datetime
    note: str = ""

    def to_json(self) -> bytes:
        """Return the content of the record's file; the token is not in it."""
        share = self.share
        fields = {"dataset": share.dataset, "until": share.until.isoformat(), "made": self.made.isoformat()}
        return (json.dumps({**fields, "note": self.note}, ensure_ascii=False, indent=1) + "\n").encode()


def file_of(share_id: str) -> str | None:
    """Name the file of a record below the dataroot; None for what is no id."""
    return f"{FOLDER}/{share_id}.json" if _ID.fullmatch(share_id) else None


def parse_record(share_id: str, content: bytes) -> Record | None:
    """Read the content of a record's file; None where it is not one."""
    try:
        found = json.loads(content)
        until, made = (datetime.fromisoformat(found[name]) for name in ("until", "made"))
        share = Share(share_id, str(found["dataset"]), until.astimezone(UTC))
        return Record(share, made.astimezone(UTC), str(found["note"]))
    except (ValueError, TypeError, KeyError):
        return None


class Records(Protocol):
    """The records of a dataroot, as the command `cxg share` needs them.

    All raise ConfigError where the folder may not be written, and StorageUnavailable where the store does not answer.
    """

    def write(self, record: Record) -> None:
        """Add a record."""

    def read(self) -> list[Record]:
        """Return all records."""

    def remove(self, share_id: str) -> None:
        """Remove a record."""


def records_of(dataroot: str, client: Any = None) -> Records:
    """Return the records of a dataroot.

    Parameters
    ----------
    client : boto3 client, optional
        For a dataroot on S3.
    """
    return InBucket(dataroot, client) if is_s3(dataroot) else InFolder(Path(dataroot))


class InFolder:
    """Records below a folder; see `Records`."""

    def __init__(self, dataroot: Path) -> None:
        self._folder = dataroot / FOLDER

    def write(self, record: Record) -> None:
        """Add a record."""
        part = self._folder / f"{record.share.id}.part"
        try:
            self._folder.mkdir(exist_ok=True)
            part.write_bytes(record.to_json())
            part.rename(part.with_suffix(".json"))
        except OSError as error:
            raise self._refused(error) from error

    def read(self) -> list[Record]:
        """Return all records."""
        try:
            files = sorted(self._folder.glob("*.json"))
            found = [parse_record(file.stem, file.read_bytes()) for file in files]
        except OSError as error:
            raise self._refused(error) from error
        return [record for record in found if record is not None]

    def remove(self, share_id: str) -> None:
        """Remove a record."""
        try:
            (self._folder / f"{share_id}.json").unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self._folder}: {error.strerror}; run cxg share as a user who may write there.")


class InBucket:
    """Records below a prefix of a bucket; see `Records`."""

    def __init__(self, dataroot: str, client: Any) -> None:
        self._bucket, prefix = split_s3(dataroot)
        self._prefix = f"{prefix.rstrip('/')}/{FOLDER}/".lstrip("/")
        self._client, self._uri = client, f"{dataroot.rstrip('/')}/{FOLDER}"

    def write(self, record: Record) -> None:
        """Add a record."""
        key = f"{self._prefix}{record.share.id}.json"
        self._call("put_object", Key=key, Body=record.to_json(), ContentType="application/json")

    def read(self) -> list[Record]:
        """Return all records."""
        found: list[Record | None] = []
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=self._prefix, **more)
            keys = [item["Key"] for item in page.get("Contents", ()) if item["Key"].endswith(".json")]
            for key in keys:
                content = self._call("get_object", Key=key)["Body"].read(MOST_BYTES)
                found.append(parse_record(key.removeprefix(self._prefix).removesuffix(".json"), content))
            if not page.get("IsTruncated"):
                return [record for record in found if record is not None]
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def remove(self, share_id: str) -> None:
        """Remove a record."""
        self._call("delete_object", Key=f"{self._prefix}{share_id}.json")

    def _call(self, action: str, **arguments: Any) -> Any:
        # Loaded here: only a bucket needs it.
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, action)(Bucket=self._bucket, **arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise ConfigError(
                f"{self._uri}: S3 answered {code} to {action}; check the bucket and your rights."
            ) from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"{self._uri}: {error}") from error
