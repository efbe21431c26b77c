"""The `clarion` command: every command, put together."""

import logging

import typer

from clarion_kit import tls
from clarion_local.cli import (
    apps,
    audit_log,
    broadcasts,
    budgets,
    dead_letters,
    ledger,
    migrating,
    providers,
    recipients,
    schedules,
    suppressions,
    template_life,
    topics,
    webhooks,
)
from clarion_local.cli.auditing import audit_
from clarion_local.cli.benchmarking import bench
from clarion_local.cli.bootstrapping import bootstrap_
from clarion_local.cli.demonstrating import demo
from clarion_local.cli.explaining import explain
from clarion_local.cli.following import cancel, get, list_, reschedule
from clarion_local.cli.queues import queues
from clarion_local.cli.sending import send
from clarion_local.cli.statistics import stats
from clarion_local.cli.up import up
from clarion_local.cli.versions import version_
from clarion_local.cli.watching import watch

HELP = """Clarion: notifications to phones, browsers and mailboxes.

Commands find the local stack of `clarion up` by themselves. For another gateway set CLARION_ENDPOINT, CLARION_APP_KEY,
CLARION_APP_SECRET and CLARION_CA_FILE.

Exit codes: 0 done, 1 refused by the service, 2 usage or settings, 3 nobody answers.
"""


def build() -> typer.Typer:
    """The command with all its parts."""
    app = typer.Typer(name="clarion", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
    stack, notifications, operators = "This machine", "Notifications", "Operators"
    app.command("up", rich_help_panel=stack)(up)
    app.command("demo", rich_help_panel=stack)(demo)
    app.command("bench", rich_help_panel=stack)(bench)
    app.command("version", rich_help_panel=stack)(version_)
    app.command("send", rich_help_panel=notifications)(send)
    app.command("get", rich_help_panel=notifications)(get)
    app.command("list", rich_help_panel=notifications)(list_)
    app.command("cancel", rich_help_panel=notifications)(cancel)
    app.command("reschedule", rich_help_panel=notifications)(reschedule)
    app.command("explain", rich_help_panel=notifications)(explain)
    app.command("stats", rich_help_panel=notifications)(stats)
    app.command("watch", rich_help_panel=notifications)(watch)
    app.add_typer(broadcasts.app, name="broadcasts", rich_help_panel=notifications)
    app.add_typer(schedules.app, name="schedules", rich_help_panel=notifications)
    app.add_typer(recipients.app, name="recipients", rich_help_panel=notifications)
    app.add_typer(suppressions.app, name="suppressions", rich_help_panel=notifications)
    app.add_typer(topics.app, name="topics", rich_help_panel=notifications)
    app.add_typer(template_life.app, name="templates", rich_help_panel=notifications)
    app.add_typer(providers.categories, name="categories", rich_help_panel=notifications)
    app.add_typer(apps.apps, name="apps", rich_help_panel=operators)
    app.add_typer(apps.keys, name="keys", rich_help_panel=operators)
    app.add_typer(providers.app, name="providers", rich_help_panel=operators)
    app.add_typer(budgets.app, name="budgets", rich_help_panel=operators)
    app.add_typer(webhooks.app, name="webhooks", rich_help_panel=operators)
    app.add_typer(dead_letters.app, name="dlq", rich_help_panel=operators)
    app.command("queues", rich_help_panel=operators)(queues)
    app.command("audit", rich_help_panel=operators)(audit_)
    app.add_typer(audit_log.app, name="audit-log", rich_help_panel=operators)
    app.command("bootstrap", rich_help_panel=operators)(bootstrap_)
    app.add_typer(ledger.app, name="ledger", rich_help_panel=operators)
    app.add_typer(migrating.app, name="migrate", rich_help_panel=operators)
    return app


def main() -> None:
    """The process of one command."""
    tls.restrict_cipher_suites()
    # Libraries warn of what a command says itself, in its own words.
    logging.basicConfig(level=logging.ERROR, format="clarion: %(message)s")
    build()()


if __name__ == "__main__":
    main()
