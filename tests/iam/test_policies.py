"""Each function's policy allows what the function calls, and nothing more."""

import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, text, update

import app
from chalicelib.application import sessions
from chalicelib.backup.archive.folder import DRILLED, VERIFIED
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.rds import advance_snapshots
from chalicelib.core import context as context_module
from chalicelib.core import secrets, store
from chalicelib.core.clock import to_ms
from chalicelib.core.config import Environment
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError, RunFailedError
from chalicelib.core.read_only import is_read_only
from chalicelib.mail import feedback, unsubscribe
from chalicelib.mail import ses as mail_ses
from chalicelib.mail.unsubscribe import unsubscribe_secrets
from chalicelib.operate import commands_of, look, watch
from chalicelib.operate import operate as do
from chalicelib.queue import dispatch, outbox, worker
from chalicelib.queue.job import Job
from chalicelib.queue.payloads import LIMIT
from chalicelib.queue.services import payloads
from chalicelib.queue.worker import BatchFailedError
from chalicelib.runs import catch_up, execution
from chalicelib.schema import jobs, schedules
from chalicelib.schema import runs as runs_table
from chalicelib.tasks.database_cleanup import rules
from nightshift.local.environment import ACCOUNT, PRIORITY_QUEUE, QUEUE
from nightshift.local.invocation import scheduled_event, sqs_event
from nightshift.local.servers import free_port
from nightshift.project import policies, triggers
from nightshift.testkit.kit import Invocation
from tests.iam.callers import Place, reached_by
from tests.iam.calls import actions_of
from tests.world import MORNING, YESTERDAY, World

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / ".chalice" / "policies"
TRIGGERS = triggers.read(PROJECT)
DAY = 86_400
BACKUP_KEY = "any secret of thirty-two characters or more"

# An action, and what a template calls the resource that it is done to.
Permission = tuple[str, str]
# Prepares what a function will find, and after its `yield` calls the function.
Use = Callable[[World], Iterator[None]]

# What Lambda itself does in the function's name: logs, network interfaces and, where X-Ray is switched on, traces, …
BY_LAMBDA = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
}
# … taking messages for a worker, …
TAKING = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
# … and handing on a fire that failed in all its attempts.
FAILED_FIRE = ("sqs:SendMessage", "${FailedFiresQueueArn}")
FUNCTION = "arn:${Partition}:lambda:${Region}:${Account}:function:nightshift-${Stage}-"
KEY, BUCKET = "${SecretsKeyArns}", "${BucketArn}"
DATABASE, SNAPSHOTS, LISTED = "${RdsDatabaseArns}", "${RdsSnapshotArns}", "${RdsListedArns}"
# What RDS asks for, of itself and in the caller's name of others.
OF_RDS: dict[str, set[Permission]] = {
    **{
        f"CreateDB{kind}Snapshot": {
            (f"rds:CreateDB{kind}Snapshot", DATABASE),
            (f"rds:CreateDB{kind}Snapshot", SNAPSHOTS),
            ("rds:AddTagsToResource", SNAPSHOTS),
        }
        for kind in ("", "Cluster")
    },
    **{
        f"DescribeDB{kind}Snapshots": {(f"rds:DescribeDB{kind}Snapshots", place) for place in (DATABASE, LISTED)}
        for kind in ("", "Cluster")
    },
    **{f"DeleteDB{kind}Snapshot": {(f"rds:DeleteDB{kind}Snapshot", SNAPSHOTS)} for kind in ("", "Cluster")},
    "AddTagsToResource": {("rds:AddTagsToResource", SNAPSHOTS)},
    "StartExportTask": {
        ("rds:StartExportTask", SNAPSHOTS),
        ("iam:PassRole", "${ExportRoleArns}"),
        ("kms:DescribeKey", "${ExportKeyArns}"),
        ("kms:CreateGrant", "${ExportKeyArns}"),
    },
    "DescribeExportTasks": {("rds:DescribeExportTasks", "${RdsExportArns}")},
}
FROM_US = {"StringEqualsIgnoreCase": {"ses:FromAddress": "${MailFrom}"}}
# What narrows a permission that its resource alone leaves too wide.
CONDITIONS = {
    # The other action of a call in bulk knows no sender; without this one it allows no call.
    "ses:SendBulkTemplatedEmail": FROM_US,
    "ses:SendEmail": FROM_US,
    "ses:SendRawEmail": FROM_US,
    "iam:PassRole": {"StringEquals": {"iam:PassedToService": "export.rds.amazonaws.com"}},
    "kms:CreateGrant": {"Bool": {"kms:GrantIsForAWSResource": "true"}},
}
# IAM knows no resources for these.
WITHOUT_RESOURCES = {"ses:GetAccount"} | {action for action in BY_LAMBDA if action.startswith("ec2:")}


def by_effect(called: set[Permission]) -> set[Permission]:
    """Return what AWS's services ask for on the way to what was called, without a call of ours."""
    actions, implied = {action for action, _ in called}, set()
    # Secrets Manager and S3 use the key in the caller's name.
    if actions & {"secretsmanager:GetSecretValue", "s3:GetObject"}:
        implied.add(("kms:Decrypt", KEY))
    if "s3:PutObject" in actions:
        implied.add(("kms:GenerateDataKey", KEY))
    # To who may not list, S3 says of a missing payload that it is forbidden, and the job would be tried in vain.
    if ("s3:GetObject", f"{BUCKET}/payloads/*") in called:
        implied.add(("s3:ListBucket", BUCKET))
    return implied


def statements(function: str) -> list[dict[str, Any]]:
    return policies.statements_of(FOLDER / f"{function}.json")


def allowed(function: str) -> set[Permission]:
    """Return what a function's policy allows, but for what Lambda does with it in every function."""
    found = set()
    for statement in statements(function):
        for resource in policies.listed(statement["Resource"]):
            found |= {(action, resource) for action in statement["Action"] if action not in BY_LAMBDA}
    return found


@dataclass(frozen=True)
class Recorded:
    """What every call that the functions' clients make, or sign for others, needs; and where each was made."""

    permissions: set[Permission] = field(default_factory=set)
    places: set[Place] = field(default_factory=set)


@contextmanager
def recorded(arns: dict[str, str]) -> Iterator[Recorded]:
    """Record the calls; `arns` names secrets."""
    found = Recorded()

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        found.places.add((_file_of_call(), f"{service}.{model.name}"))
        if service == "rds":
            found.permissions.update(OF_RDS[model.name])
            return
        actions = actions_of(service, model.name)
        for resource in _resources_of(service, params, arns):
            found.permissions.update((action, resource) for action in actions)

    services = ("sqs", "sesv2", "s3", "rds", "lambda", "secretsmanager")
    clients = [context_module.client(service) for service in services]
    for client in clients:
        client.meta.events.register("before-parameter-build", note)
    try:
        yield found
    finally:
        for client in clients:
            client.meta.events.unregister("before-parameter-build", note)


def _file_of_call() -> str:
    """Return the file of ours that makes a call, which botocore is about to build."""
    frames = (Path(frame.filename) for frame in reversed(traceback.extract_stack()))
    return next(path.relative_to(PROJECT).as_posix() for path in frames if path.is_relative_to(PROJECT / "chalicelib"))


def _resources_of(service: str, params: dict[str, Any], arns: dict[str, str]) -> set[str]:
    if service == "sqs":
        names = {QUEUE: "${WorkQueueArn}", PRIORITY_QUEUE: "${PriorityQueueArn}"}
        return {names.get(params["QueueUrl"].rpartition("/")[2], "${DeadLetterQueueArn}")}
    if service == "s3":
        deleted = [each["Key"] for each in params.get("Delete", {}).get("Objects", ())]
        return {_place_of(key) for key in deleted or [params.get("Key")]}
    if service == "lambda":
        task = params["FunctionName"].rpartition("-")[2]
        return {"${TaskFunctionArns}" if task in app.app.schedules else f"{FUNCTION}{task}"}
    if service == "secretsmanager":
        return {arns[params["SecretId"]]}
    return {"${MailArns}" if {"Content", "DefaultContent"} & params.keys() else "*"}


def _place_of(key: str | None) -> str:
    if key is None:
        return BUCKET
    folder, _, rest = key.partition("/")
    if folder == "exports":
        return "${ExportedArns}"
    name = rest.rpartition("/")[2]
    return f"{BUCKET}/{folder}/*/{name}" if name in {VERIFIED, DRILLED} else f"{BUCKET}/{folder}/*"


def widened(needed: set[Permission], given: set[Permission]) -> set[Permission]:
    """Return what is needed, with a mark's permission in that for its whole folder, where that is given."""
    folder = f"{BUCKET}/backups/*"
    return {
        (action, folder if resource.startswith(folder) and (action, folder) in given else resource)
        for action, resource in needed
    }


def refer(world: World) -> dict[str, str]:
    """Let settings refer to secrets, and return by ARN what a policy calls each."""
    manager = world.aws.client("secretsmanager")
    texts = {
        "database_url": world.environment["DATABASE_URL"],
        # Nothing answers there; without Redis each worker keeps to its own pace.
        "redis_url": f"redis://127.0.0.1:{free_port()}",
        "unsubscribe_secrets": world.environment["UNSUBSCRIBE_SECRETS"],
        "external_sync_token": "any",
        "backup_key": BACKUP_KEY,
        "app_jobs_secrets": "whsec_" + 32 * "k",
        # Nor there.
        "ping": f"http://127.0.0.1:{free_port()}/ping",
    }
    arns = {name: manager.create_secret(Name=name, SecretString=text)["ARN"] for name, text in texts.items()}
    settings_of = {name: arn for name, arn in arns.items() if name != "ping"}
    # Nor there.
    address = f"http://127.0.0.1:{free_port()}/jobs"
    settings_of |= {"app_jobs_url": address, "app_jobs_types": "resize_image", "app_jobs_private": "on"}
    world.configure(**settings_of, **dict.fromkeys((f"{task}_ping" for task in app.app.schedules), arns["ping"]))
    names = (
        "${DatabaseSecretArns}",
        "${CacheSecretArns}",
        "${UnsubscribeSecretArn}",
        "${SyncSecretArns}",
        "${BackupSecretArns}",
        "${ApplicationJobsSecretArns}",
        "${PingSecretArns}",
    )
    return dict(zip(arns.values(), names, strict=True))


def put(world: World, url: str, *bodies: str) -> list[dict[str, Any]]:
    """Put messages on a queue and return them as they come off it."""
    for body in bodies:
        world.sqs.send_message(QueueUrl=url, MessageBody=body)
    messages: list[dict[str, Any]] = []
    while batch := world.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        messages += batch
    return messages


def message(type_: str, **data: Any) -> str:
    return json.dumps({"type": type_, "data": data})


def mail(**data: Any) -> dict[str, Any]:
    return {"to": "reader@example.com", "subject": "Hello", "text": "Hello.", **data}


def enqueued(world: World, type_: str, data: dict[str, Any], **options: Any) -> str:
    """Write a job's row without sending it, and return its id."""
    new = Job(type=type_, payload=data, **options)
    with world.context().database.begin() as connection:
        return outbox.enqueue_many(connection, [new], clock=world.clock)[0]


def broken(world: World, id_: str, **values: Any) -> str:
    """Write a row of which no message can be made, and return its id."""
    row = {"id": id_, "type": "send_email", "data": "no JSON", "status": "pending", "created_at": 0, "dispatch_at": 0}
    world.execute(insert(jobs).values(row | values))
    return id_


def fire(world: World) -> Iterator[None]:
    world.add_users(2)
    world.add_posts("Hello")
    yield
    world.fire()


# A job of each type, so that what its handler calls is seen; Nightshift's own are above all the rest of `works`.
JOBS: dict[str, dict[str, Any]] = {"send_email": mail(), "generate_report": {"to": "a@b.cd"}, "resize_image": {}}


def works(queue: str) -> Use:
    def use(world: World) -> Iterator[None]:
        users = world.add_users(4)
        world.add_posts("Hello")
        world.fire()
        world.sqs.purge_queue(QueueUrl=world.environment["WORK_QUEUE_URL"])
        url = f"{world.aws.endpoint}/{ACCOUNT}/{QUEUE if queue == 'work' else PRIORITY_QUEUE}"
        large = payloads(world.context()).store(message("nobody_does_this", text="x" * LIMIT))
        # Its message comes too early, and is put off to the queue of its row.
        other = enqueued(world, "send_email", mail(), queue="priority")
        world.execute(update(jobs).where(jobs.c.id == other).values(due_at=world.clock.now_ms() + 60_000))
        early = json.dumps({"type": "send_email", "data": mail(), "id": other})
        ranges = ((users[0], users[2]), (users[3], users[3]))
        bodies = (message("send_digest", day=YESTERDAY, first=first, last=last) for first, last in ranges)
        digests = put(world, url, *bodies)
        (continued,) = put(
            world, url, message("continue_run", task="record_activity", scheduled_for=f"{YESTERDAY}T00:05Z")
        )
        rest = put(world, url, large, early, *(message(type_, **data) for type_, data in JOBS.items()))
        yield
        # Time for two mails in bulk of the three, whose rest is handed on, and then for one by itself.
        world.configure(mail_rate=2.0, mail_workers=1)
        # Where Lambda has no function of the task, the worker does it.
        worker.work(sqs_event([continued]), world.context(function_name="nightshift-test-work"), queue=queue)
        for digest in digests:
            worker.work(sqs_event([digest]), world.context(seconds=45.5), queue=queue)
            # Else the next one waits for its turn longer than its time allows.
            world.clock.advance(1)
        world.configure(mail_rate="")
        # The emulator does not tell the account's rate, so a mail fails at just that call.
        with pytest.raises(BatchFailedError, match=f"1 of {len(rest)} messages"):
            worker.work(sqs_event(rest), world.context(), queue=queue)

    return use


def is_deployed(**_: Any) -> Any:
    """Answer for Lambda when a function is asked about, since the emulator has none."""
    return SimpleNamespace(status_code=200), {"LastModified": "2016-08-04T07:00:00.000+0000"}


@pytest.fixture(autouse=True)
def deployed() -> Iterator[None]:
    events = context_module.client("lambda").meta.events
    events.register("before-call.lambda.GetFunctionConfiguration", is_deployed)
    yield
    events.unregister("before-call.lambda.GetFunctionConfiguration", is_deployed)


def dispatches(world: World) -> Iterator[None]:
    enqueued(world, "send_email", mail())
    enqueued(world, "send_email", mail(text="x" * LIMIT), queue="priority")
    broken(world, "b")
    # Escaped it is too long for a message.
    broken(world, "l", data='"' * LIMIT)
    yield
    dispatch.dispatch(world.context())
    catch_up.record_schedules(world.context(function_name="nightshift-test-dispatch"), app.app.schedules)


def watches(world: World) -> Iterator[None]:
    world.fire()
    world.execute(update(runs_table).values(status="running", lease_until=1))
    world.fire(MORNING - timedelta(days=1))
    given_up = update(runs_table).where(runs_table.c.status != "running")
    world.execute(given_up.values(status="running", lease_until=1, started_at=1))
    seen = [{"task": name, "text": each.text, "checked_until": 0} for name, each in app.app.schedules.items()]
    since = to_ms(MORNING - timedelta(days=40))
    world.execute(insert(schedules), [row | {"checked_until": since} for row in seen if row["task"] != "daily_digest"])
    leave_to_clear_up(world)
    for kind in ("instance", "cluster"):
        leave_to_rds(world, kind)
        world.clock.advance(3600)
        make_backup(world.context(seconds=5))
    yield
    context = world.context(function_name="nightshift-test-watch")
    assert watch.watch(context, app.app.schedules, app.PARTS)["succeeded"] > 2
    for kind in ("instance", "cluster"):
        leave_to_rds(world, kind)
        for _ in range(2):
            watch.watch(world.context(), app.app.schedules, app.PARTS)


def operate(world: World) -> Iterator[None]:
    dead = [
        enqueued(world, "send_email", mail()),
        enqueued(world, "send_email", mail(text="x" * LIMIT), queue="priority"),
        broken(world, "b"),
    ]
    world.execute(update(jobs).values(status="dead", dispatch_at=None))
    url = world.environment["DEAD_LETTER_QUEUE_URL"]
    of_job = {"job_id": {"DataType": "String", "StringValue": dead[0]}}
    world.sqs.send_message(QueueUrl=url, MessageBody="{}", MessageAttributes=of_job)
    # As SQS itself buries: without attributes, and no row knows of it.
    world.sqs.send_message(
        QueueUrl=url, MessageBody=payloads(world.context()).store(message("send_email", **mail(text="x" * LIMIT)))
    )
    leave_to_clear_up(world)
    yield
    ask(world, "check")
    ask(world, "jobs.retry", ids=dead)
    ask(world, "jobs.redrive")
    ask(world, "jobs.enqueue", type="send_email", data=mail(text="x" * LIMIT), queue="priority")
    ask(world, "status.page")
    backs_up_by_every_road(world, lambda context: ask(world, "backup.create", context=context))
    for command in ("backup.list", "backup.verify", "backup.drill", "backup.prune"):
        ask(world, command)
    place = f"{world.context().database.engine.url.database}_restored"
    ask(world, "backup.restore", schema=place)
    if "/" not in place:
        world.execute(text(f"DROP DATABASE {place}"))


def looks(world: World) -> Iterator[None]:
    large = enqueued(world, "send_email", mail(text="x" * LIMIT))
    leave_to_clear_up(world)
    for kind in ("instance", "cluster"):
        leave_to_rds(world, kind)
        world.clock.advance(3600)
        make_backup(world.context(seconds=5))
    world.configure(backup_rds="")
    make_backup(world.context())
    yield
    for command in filter(is_read_only, commands_of(app.app.schedules, app.PARTS)):
        request = {"jobs.show": {"id": large}, "runs.show": {"id": "none"}}.get(command, {})
        for kind in ("instance", "cluster"):
            leave_to_rds(world, kind)
            with suppress(InvalidRequestError) if command == "runs.show" else nullcontext():
                look({"command": command, **request}, world.context(), app.app.schedules, app.PARTS)


def ask(world: World, command: str, *, context: Context | None = None, **request: Any) -> Any:
    return do({"command": command, **request}, context or world.context(), {}, app.PARTS)


def backs_up(world: World) -> Iterator[None]:
    leave_to_clear_up(world)
    yield
    backs_up_by_every_road(world, make_backup)


def make_backup(context: Context) -> Any:
    return execution.execute("database_backup", event={}, context=context)


def leave_to_clear_up(world: World) -> None:
    """Leave what goes once there is a newer backup that was read back, and databases that RDS knows."""
    # S3 and RDS go by the time of day, and what was begun there may be under way for two days.
    world.clock.advance(time.time() - world.clock.now_ms() / 1000 + 3 * DAY)
    world.configure(backup_keep="all=1 daily=1 weekly=0 monthly=0 yearly=0")
    make_backup(world.context())
    world.aws.client("s3").create_multipart_upload(Bucket=world.environment["BUCKET"], Key="backups/begun")
    rds, user = world.aws.client("rds"), {"MasterUsername": "admin", "MasterUserPassword": "not-a-secret"}
    size = {"DBInstanceClass": "db.t4g.micro", "AllocatedStorage": 20}
    rds.create_db_instance(DBInstanceIdentifier="shop", Engine="mysql", **size, **user)
    rds.create_db_cluster(DBClusterIdentifier="shop", Engine="aurora-mysql", **user)


def backs_up_by_every_road(world: World, make: Callable[[Context], Any]) -> None:
    """Make a backup whose verification is handed on, one that makes an older one go, and snapshots of either kind."""
    world.clock.advance(2 * DAY)
    in_pieces(world, make)
    world.clock.advance(2 * DAY)
    with slow_reading(world):
        assert make(world.context())["continues"]
    world.clock.advance(2 * DAY)
    make(world.context())
    s3, rds = world.aws.client("s3"), world.aws.client("rds")
    for kind in ("instance", "cluster"):
        leave_to_rds(world, kind)
        for _ in range(3):
            world.clock.advance(2 * DAY)
            # Too little time for any dump.
            make(world.context(seconds=5))
            for _ in range(2):
                advance_snapshots(as_the_watch(world))
            for task in rds.describe_export_tasks()["ExportTasks"]:
                s3.put_object(
                    Bucket=world.environment["BUCKET"], Key=f"exports/{task['ExportTaskIdentifier']}/1.parquet"
                )


def in_pieces(world: World, make: Callable[[Context], Any]) -> None:
    """Try a backup whose parts are uploaded in pieces, which S3 finds too small."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(store, "PIECE", 1)
        with pytest.raises(RunFailedError, match="EntityTooSmall"):
            make(world.context())


def leave_to_rds(world: World, kind: str) -> None:
    world.configure(backup_rds=f"{kind}:shop", backup_export_role="arn:aws:iam::1:role/x", backup_export_key="arn:k")


def as_the_watch(world: World) -> Context:
    """Return the context of an invocation of another function, whose calls are not this one's."""
    invocation = Invocation(clock=world.clock, deadline_ms=world.clock.now_ms() + 60_000, aws_request_id="watch")
    return Context(invocation, environment=Environment(world.environment), clock=world.clock, client=world.aws.client)


@contextmanager
def slow_reading(world: World) -> Iterator[None]:
    """Let reading a part take five minutes."""
    read = Reader.read

    def slow(reader: Reader, part: Any) -> Any:
        world.clock.advance(300)
        return read(reader, part)

    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(Reader, "read", slow)
        yield


def drills(world: World) -> Iterator[None]:
    world.configure(backup_key=BACKUP_KEY)
    make_backup(world.context())
    yield
    execution.execute("backup_drill", event={}, context=world.context())
    damage(world)
    world.clock.advance(DAY)
    with pytest.raises(RunFailedError, match="damaged"):
        execution.execute("backup_drill", event={}, context=world.context())


def damage(world: World) -> None:
    s3, bucket = world.aws.client("s3"), world.environment["BUCKET"]
    (key, *_) = (found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix="backups/")["Contents"])
    content = bytearray(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    content[-1] ^= 1
    s3.put_object(Bucket=bucket, Key=key, Body=bytes(content))


def executes(task: str) -> Use:
    def use(world: World) -> Iterator[None]:
        yield
        execution.execute(task, event=scheduled_event(MORNING), context=world.context())

    return use


def cleans_up(world: World) -> Iterator[None]:
    add_old_session(world)
    yield
    with pytest.MonkeyPatch.context() as changed:
        # As a team may have it: what goes is archived before.
        changed.setattr(rules, "RULES", [replace(rule, archive=True) for rule in rules.RULES])
        # Too late to do anything: the rest continues later.
        for seconds in (5, 300):
            execution.execute(
                "database_cleanup", event=scheduled_event(MORNING), context=world.context(seconds=seconds)
            )


def add_old_session(world: World) -> None:
    row = {"id": "s", "user_id": "u", "created_at": 0, "updated_at": to_ms(MORNING - timedelta(days=99))}
    world.execute(insert(sessions), [row])


def reports_the_month(world: World) -> Iterator[None]:
    world.add_users(1, is_admin=True)
    yield
    execution.execute("monthly_report", event=scheduled_event(MORNING), context=world.context())


def warms_the_cache(world: World) -> Iterator[None]:
    yield
    with pytest.raises(RunFailedError, match="Redis does not take the lock"):
        execution.execute("cache_warming", event=scheduled_event(MORNING), context=world.context())


def syncs(world: World) -> Iterator[None]:
    url = f"https://127.0.0.1:{free_port()}/items"
    world.configure(external_sync_url=url, external_sync_hosts_allowed="127.0.0.1")
    yield
    # Too late to do anything: the rest continues later.
    execution.execute("external_sync", event=scheduled_event(MORNING), context=world.context(seconds=5))
    with pytest.raises(RunFailedError):
        execution.execute("external_sync", event=scheduled_event(MORNING), context=world.context())


def takes_feedback(world: World) -> Iterator[None]:
    complaint = {
        "eventType": "Complaint",
        "mail": {"messageId": "1", "destination": ["reader@example.com"], "timestamp": "2016-08-04T08:00:00Z"},
        "complaint": {
            "complainedRecipients": [{"emailAddress": "reader@example.com"}],
            "timestamp": "2016-08-04T08:00:00Z",
            "feedbackId": "f",
        },
    }
    yield
    feedback.receive({"Records": [{"Sns": {"Message": json.dumps(complaint)}}]}, world.context())


def unsubscribes(world: World) -> Iterator[None]:
    (user_id,) = world.add_users(1)
    token = unsubscribe.sign(user_id, unsubscribe.MAILING, secrets=unsubscribe_secrets(world.context()))
    yield
    request = SimpleNamespace(
        method="POST", query_params={"token": token}, raw_body=b"List-Unsubscribe=One-Click", headers={}
    )
    assert unsubscribe.respond(request, world.context()).status_code == 200


USES: dict[str, Use] = {
    # Unless there is more to it, as of those below.
    **{task: executes(task) for task in app.app.schedules},
    "daily_digest": fire,
    "database_backup": backs_up,
    "backup_drill": drills,
    "database_cleanup": cleans_up,
    "monthly_report": reports_the_month,
    "cache_warming": warms_the_cache,
    "external_sync": syncs,
    "mail_feedback": takes_feedback,
    # Chalice's name for what serves routes.
    "api_handler": unsubscribes,
    "work": works("work"),
    "work_priority": works("priority"),
    "dispatch": dispatches,
    "watch": watches,
    "operate": operate,
    "look": looks,
}
# A worker goes on with any run that is handed on or was interrupted: it reads a backup back, asks a sync's source, …
CONTINUING = set[Permission]().union(*map(allowed, app.app.schedules)) - {FAILED_FIRE}
# What a sync has listed when its time is up is kept for whoever goes on.
LISTING = {(action, f"{BUCKET}/payloads/*") for action in ("s3:GetObject", "s3:PutObject")} | {
    ("s3:ListBucket", BUCKET)
}
BESIDES: dict[str, set[Permission]] = {
    **{function: {FAILED_FIRE} for function in triggers.reporting(TRIGGERS)},
    "external_sync": {FAILED_FIRE, ("kms:GenerateDataKey", KEY), *LISTING},
    # Where the database is of the data stack.
    "operate": {("secretsmanager:GetSecretValue", "${DatabaseAdminSecretArns}")},
    "work": {*((action, "${WorkQueueArn}") for action in TAKING), *CONTINUING},
    "work_priority": {*((action, "${PriorityQueueArn}") for action in TAKING), *CONTINUING},
}


@pytest.fixture
def referring(world: World) -> Iterator[World]:
    """A deployment that forgets its secrets, so that each is fetched for the test."""
    secrets.forget()
    mail_ses._account_of.cache_clear()
    yield world
    world.context().database.engine.dispose()
    secrets.forget()


@pytest.mark.parametrize("function", USES)
# What is called is the same on MariaDB.
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_policy_allows_what_its_function_calls_and_nothing_more(referring: World, function: str) -> None:
    steps = USES[function](referring)
    next(steps)
    arns = refer(referring)
    with recorded(arns) as called, suppress(StopIteration):
        next(steps)
    besides = BESIDES.get(function, set())
    given = allowed(function)
    assert called.places == reached_by(function)
    assert given - besides == widened(called.permissions | by_effect(called.permissions), given) - besides


@pytest.mark.parametrize("worker", triggers.functions_of(TRIGGERS, "queue"))
def test_a_worker_may_do_whatever_a_run_that_it_goes_on_with_may(worker: str) -> None:
    given = allowed(worker)
    assert widened(CONTINUING, given) - given == set()


@pytest.mark.parametrize("function", USES)
def test_a_resource_is_named_wherever_iam_can_name_one(function: str) -> None:
    for statement in statements(function):
        for resource in policies.listed(statement["Resource"]):
            if resource == "*":
                assert set(statement["Action"]) <= WITHOUT_RESOURCES
            elif "*" in resource:
                # One function's log streams, one folder of the bucket, or one mark on each backup.
                assert resource.endswith((":*", "/*", f"/*/{VERIFIED}", f"/*/{DRILLED}"))
                assert ":log-group:/aws/lambda/" in resource or resource.partition("*")[0].count("/") == 2
        assert not any("*" in action for action in statement["Action"])
        for action in statement["Action"]:
            assert statement.get("Condition") == CONDITIONS.get(action)


def test_every_function_has_a_policy() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(USES) == {*app.app.handler_map, "api_handler"}


VALUES = {"Partition": "aws", "Region": "eu-west-1", "Account": "1", "Queue": "arn:q", "Secrets": ["arn:s"]}


def written(tmp_path: Path, *resources: Any) -> Path:
    statements = [{"Sid": f"S{n}", "Action": ["a:b"], "Resource": resource} for n, resource in enumerate(resources)]
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"Version": "2012-10-17", "Statement": statements}))
    return path


def test_placeholders_become_the_stages_own_arns(tmp_path: Path) -> None:
    template = written(tmp_path, "arn:${Partition}:logs:${Region}:${Account}:x", ["${Queue}", "${Secrets}"])
    rendered = policies.render(template, VALUES, parts=())["Statement"]
    assert [statement["Resource"] for statement in rendered] == ["arn:aws:logs:eu-west-1:1:x", ["arn:q", "arn:s"]]


def test_a_statement_about_nothing_is_left_out(tmp_path: Path) -> None:
    assert policies.render(written(tmp_path, "${Secrets}"), {"Secrets": []}, parts=())["Statement"] == []


def test_a_placeholder_without_a_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no value for \$\{Queue\}"):
        policies.render(written(tmp_path, "${Queue}"), {}, parts=())


def test_a_template_has_the_statements_of_those_that_it_includes(tmp_path: Path) -> None:
    shared, own = tmp_path / "shared", written(tmp_path, "${Queue}")
    shared.mkdir()
    for name, document in {
        "inner": {"Statement": [{"Sid": "Inner", "Resource": "*"}]},
        "outer": {"Include": ["inner"], "Statement": [{"Sid": "Outer", "Resource": "*"}]},
    }.items():
        (shared / f"{name}.json").write_text(json.dumps(document))
    own.write_text(json.dumps(json.loads(own.read_text()) | {"Include": ["outer"]}))
    rendered = policies.render(own, VALUES, parts=())
    assert rendered.keys() == {"Version", "Statement"}
    assert [statement["Sid"] for statement in rendered["Statement"]] == ["Inner", "Outer", "S0"]


def test_a_condition_is_filled_too(tmp_path: Path) -> None:
    template = tmp_path / "policy.json"
    condition = {"StringEquals": {"ses:FromAddress": "${Queue}", "aws:CalledVia": ["${Secrets}", "x"]}}
    template.write_text(json.dumps({"Statement": [{"Sid": "S", "Resource": "*", "Condition": condition}]}))
    (statement,) = policies.render(template, VALUES, parts=())["Statement"]
    assert statement["Condition"] == {"StringEquals": {"ses:FromAddress": "arn:q", "aws:CalledVia": ["arn:s", "x"]}}
