"""Write deploy/grafana/dashboards from the short description below. `--check` only checks whether the files are current.

A panel is a title, what it tells, its unit, and its queries with their legends; where it stands follows from the order.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
COMMAND = "python tools/dashboards.py"

COLUMNS, WIDTH, HEIGHT = 24, 8, 8
RATE = "$__rate_interval"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: queries are (expression, legend); `exemplars` are shown as points that lead to traces."""

    title: str
    description: str
    unit: str
    queries: Sequence[tuple[str, str]]
    exemplars: bool = False
    stack: bool = False
    at_most: float | None = None

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return it in Grafana's form."""
        targets = [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "exemplar": self.exemplars}
            for place, (expression, legend) in enumerate(self.queries)
        ]
        custom = {
            "lineWidth": 1,
            "fillOpacity": 20 if self.stack else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if self.stack else "none"},
        }
        defaults: dict[str, Any] = {"unit": self.unit, "min": 0, "custom": custom}
        if self.at_most is not None:
            defaults["max"] = self.at_most
        return {
            "id": number,
            "type": "timeseries",
            "title": self.title,
            "description": self.description,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
            "targets": targets,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page of rows; `by_service` adds the choice of a service."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    by_service: bool = False

    def json(self) -> dict[str, Any]:
        """Return it in Grafana's form."""
        panels: list[dict[str, Any]] = []
        y = 0
        for row in self.rows:
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "panels": [],
                    "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
                }
            )
            y += 1
            for place, panel in enumerate(row.panels):
                x, down = place * WIDTH % COLUMNS, place * WIDTH // COLUMNS
                panels.append(panel.json(len(panels) + 1, x, y + down * HEIGHT))
            y += HEIGHT * -(-len(row.panels) * WIDTH // COLUMNS)
        variables: list[dict[str, Any]] = [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
        ]
        if self.by_service:
            variables.append(
                {
                    "name": "service", "label": "Service", "type": "query", "datasource": _SOURCE, "refresh": 2, "sort": 1,
                    "query": {"query": "label_values(luxor_ready, service)", "refId": "service"},
                }
            )  # fmt: skip
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["luxor"],
            "schemaVersion": 39,
            "version": 1,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "utc",
            "templating": {"list": variables},
            "links": [{"type": "dashboards", "tags": ["luxor"], "title": "Luxor", "asDropdown": False, "keepTime": True}],
            "annotations": {
                "list": [
                    {
                        "name": "Alerts", "enable": True, "iconColor": "red", "datasource": _SOURCE,
                        "expr": 'ALERTS{alertname=~"Luxor.+",alertstate="firing"}', "titleFormat": "{{alertname}}", "textFormat": "{{service}}",
                    }
                ]
            },
            "panels": panels,
        }  # fmt: skip


def quantiles(metric: str, where: str = "") -> list[tuple[str, str]]:
    """Return queries for the median and the 95th and 99th percentile of a histogram."""
    return [
        (f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{where}[{RATE}])))", f"p{q * 100:g}")
        for q in (0.5, 0.95, 0.99)
    ]


FLOW = Dashboard(
    "luxor-flow", "Luxor: the flow", "What crosses the border now: filed, assessed, decided, released, counted.",
    [
        Row("Consignments", [
            Panel("Filed", "Consignments a second by what ingestion said to them.", "ops",
                  [(f"sum by (outcome) (rate(luxor_ingestion_consignments_total[{RATE}]))", "{{outcome}}")], stack=True),
            Panel("Assessed, decided, counted", "Consignments a second at each station; the lines lie on each other while nothing waits.", "ops", [
                (f"sum(rate(luxor_risk_assessed_total[{RATE}]))", "assessed by risk"),
                (f"sum(rate(luxor_revenue_assessed_total[{RATE}]))", "assessed by revenue"),
                (f"sum(rate(luxor_clearance_decisions_total[{RATE}]))", "decided"),
                (f'sum(rate(luxor_clearance_states_total{{state="released"}}[{RATE}]))', "released"),
                (f'sum(rate(luxor_statistics_states_total{{outcome="counted"}}[{RATE}]))', "counted"),
            ]),
            Panel("Lanes", "Decisions a second by lane, from green, which goes through, to red, which is inspected.", "ops",
                  [(f"sum by (lane) (rate(luxor_clearance_decisions_total[{RATE}]))", "{{lane}}")], stack=True),
        ]),
        Row("How long it takes", [
            Panel("From acceptance to decision", "Percentiles; points are traces. The aim is a second.", "s",
                  quantiles("luxor_clearance_decision_seconds"), exemplars=True),
            Panel("Lag of the feeds", "How far each consumer is behind what it follows.", "s",
                  [("max by (consumer, source) (luxor_feed_lag_seconds)", "{{consumer}} behind {{source}}")]),
            Panel("Backlog", "Events that a consumer has not committed.", "short",
                  [("max by (feed, consumer) (luxor_feed_backlog_events)", "{{feed}} for {{consumer}}")]),
        ]),
        Row("At the border", [
            Panel("Held", "Consignments that officers hold, by lane.", "short",
                  [("max by (lane) (luxor_clearance_held)", "{{lane}}")], stack=True),
            Panel("Arrivals that wait", "Arrivals that were reported and are not applied yet.", "short",
                  [("max(luxor_clearance_arrivals_pending)", "arrivals")]),
            Panel("States", "Versions of consignments a second by the state they reach.", "ops",
                  [(f"sum by (state) (rate(luxor_clearance_states_total[{RATE}]))", "{{state}}")]),
        ]),
        Row("Money and trouble", [
            Panel("Money assessed", "Minor units (cents) a second by kind of charge and currency.", "short",
                  [(f"sum by (kind, currency) (rate(luxor_clearance_charges_minor_total[{RATE}]))", "{{kind}} {{currency}}")], stack=True),
            Panel("Postings", "Postings of the ledger a second, by kind of entry.", "ops",
                  [(f"sum by (kind) (rate(luxor_revenue_ledger_postings_total[{RATE}]))", "{{kind}}")], stack=True),
            Panel("Ledger unsealed", "Age of the oldest entry that no seal covers yet; a minute as a rule.", "s",
                  [("max(luxor_revenue_ledger_unsealed_seconds)", "unsealed"),
                   ("max(luxor_revenue_ledger_unproven_seconds)", "not proven")]),
            Panel("Aggregates over several consignments", "Changed aggregates whose earlier consignments wait to be assessed again.", "short",
                  [("max(luxor_revenue_reassessment_aggregates_waiting)", "aggregates")]),
            Panel("Accounts that may secure a debt", "Deferred accounts and guarantees, and those whose limit is reached.", "short", [
                ("max(luxor_revenue_accounts_usable)", "usable"), ("max(luxor_revenue_accounts_exhausted)", "exhausted"),
            ]),
            Panel("Jobs", "What-if runs, backtests and trainings that wait or run, by kind.", "short", [
                ("max by (kind) (luxor_revenue_jobs_open)", "{{kind}}"), ("max by (kind) (luxor_risk_jobs_open)", "{{kind}}"),
            ]),
            Panel("Not assessed by revenue", "Consignments a second that revenue has no answer for, by reason.", "ops",
                  [(f'sum by (reason) (rate(luxor_revenue_assessed_total{{reason!="none"}}[{RATE}]))', "{{reason}}")]),
            Panel("Set aside", "Events that could not be applied and wait for a replay.", "short",
                  [("max by (consumer, source) (luxor_feed_dead_letters_waiting)", "{{consumer}} from {{source}}")]),
        ]),
    ],
)  # fmt: skip

_LABEL = 'service="$service"'
SERVICE = Dashboard(
    "luxor-service", "Luxor: one service", "The golden signals of one service, its store and its feed.",
    [
        Row("Calls", [
            Panel("Rate", "Calls a second by method.", "reqps",
                  [(f"sum by (method) (rate(luxor_call_seconds_count{{{_LABEL}}}[{RATE}]))", "{{method}}")], stack=True),
            Panel("Errors", "Calls a second that did not end well, by code. INVALID_ARGUMENT and its like are the caller's.", "reqps",
                  [(f'sum by (code) (rate(luxor_call_seconds_count{{{_LABEL},code!="OK"}}[{RATE}]))', "{{code}}")]),
            Panel("Duration", "Percentiles of the time of a call without long polls; points are traces.", "s",
                  quantiles("luxor_call_seconds", f'{{{_LABEL},method!~".*/(Pull|PullNotices)"}}'), exemplars=True),
            Panel("Calls in flight", "Calls that run now, as a share of those that may.", "percentunit", [
                (f"sum by (kind) (luxor_calls_in_flight{{{_LABEL}}}) / sum by (kind) (luxor_calls_in_flight_max{{{_LABEL}}})", "{{kind}}"),
            ], at_most=1),
            Panel("Failing through its own fault", "Share of the calls over five minutes; the aim is 0.1 % at most.", "percentunit",
                  [(f"luxor:call_errors:ratio5m{{{_LABEL}}} or 0 * sum by (service) (rate(luxor_call_seconds_count{{{_LABEL}}}[5m]))", "failed")]),
            Panel("Bytes taken", "Bytes of requests a second by method.", "Bps",
                  [(f"sum by (method) (rate(luxor_request_bytes_total{{{_LABEL}}}[{RATE}]))", "{{method}}")]),
        ]),
        Row("Process", [
            Panel("Processor", "Processors in use, by replica.", "short",
                  [(f"rate(process_cpu_seconds_total{{{_LABEL}}}[{RATE}])", "{{instance}}")]),
            Panel("Memory", "Resident memory by replica, and what it may use.", "bytes", [
                (f"process_resident_memory_bytes{{{_LABEL}}}", "{{instance}}"), (f"min(luxor_memory_limit_bytes{{{_LABEL}}})", "limit"),
            ]),
            Panel("Event loop", "How late the loop is, 99th percentile.", "s", [
                (f"histogram_quantile(0.99, sum by (instance, le) (rate(luxor_event_loop_lag_seconds_bucket{{{_LABEL}}}[{RATE}])))",
                 "{{instance}}"),
            ]),
            Panel("Ready", "1 where the replica is ready, and where it reaches its neighbours.", "none", [
                (f"luxor_ready{{{_LABEL}}}", "{{instance}}"), (f"min by (neighbour) (luxor_neighbour_up{{{_LABEL}}})", "reaches {{neighbour}}"),
            ], at_most=1),
            Panel("Open files", "Open files as a share of those that may be.", "percentunit",
                  [(f"process_open_fds{{{_LABEL}}} / process_max_fds{{{_LABEL}}}", "{{instance}}")], at_most=1),
            Panel("Certificate", "Time until the service's certificate ends.", "s",
                  [(f"min(luxor_certificate_expires_timestamp_seconds{{{_LABEL}}}) - time()", "left")]),
        ]),
        Row("Store", [
            Panel("Transactions", "Write transactions a second by how they end.", "ops",
                  [(f"sum by (outcome) (rate(luxor_store_transactions_total{{{_LABEL}}}[{RATE}]))", "{{outcome}}")]),
            Panel("Time of a transaction", "Percentiles; above 100 ms one holds the feeds back. Points are traces.", "s",
                  quantiles("luxor_store_transaction_seconds", f"{{{_LABEL}}}"), exemplars=True),
            Panel("Refused by the store", "Work a second that the store refused for now, by reason.", "ops",
                  [(f"sum by (reason) (rate(luxor_store_unavailable_total{{{_LABEL}}}[{RATE}])) > 0", "{{reason}}")]),
            Panel("Connections", "Connections of the pools, and work that waits for one.", "short", [
                (f"sum by (state) (luxor_store_connections{{{_LABEL}}})", "{{state}}"),
                (f"sum(luxor_store_connections_waiting{{{_LABEL}}})", "waiting"), (f"sum(luxor_store_connections_max{{{_LABEL}}})", "at most"),
            ]),
            Panel("Waiting for a connection", "Percentiles of the time from asking to having.", "s",
                  quantiles("luxor_store_connection_wait_seconds", f"{{{_LABEL}}}")),
            Panel("Size", "Size of the service's database.", "bytes", [(f"max(luxor_store_bytes{{{_LABEL}}})", "size")]),
        ]),
        Row("Feed", [
            Panel("Horizon", "How long an open transaction has held the feed.", "s",
                  [(f"max by (feed) (luxor_feed_horizon_age_seconds{{{_LABEL}}})", "{{feed}}")]),
            Panel("Events applied", "Events of the feeds it follows that took effect, a second.", "ops",
                  [(f"sum by (source) (rate(luxor_feed_events_total{{{_LABEL}}}[{RATE}]))", "from {{source}}")]),
            Panel("Queues", "Events fetched ahead, and batches that are being assessed.", "short", [
                (f"sum by (source) (luxor_feed_prefetched_events{{{_LABEL}}})", "fetched ahead from {{source}}"),
                (f"sum(luxor_clearance_assessments_in_flight{{{_LABEL}}})", "batches in assessment"),
            ]),
            Panel("Partitions", "Partitions that the replicas hold, 64 in all for each source.", "short",
                  [(f"sum by (source) (luxor_feed_partitions_held{{{_LABEL}}})", "of {{source}}")]),
            Panel("Tried again", "Pages a second that were tried again, leases lost, and snapshots begun.", "ops", [
                (f"sum by (kind) (rate(luxor_feed_retries_total{{{_LABEL}}}[{RATE}]))", "{{kind}}"),
                (f"sum(rate(luxor_feed_leases_lost_total{{{_LABEL}}}[{RATE}]))", "leases lost"),
                (f"sum(rate(luxor_feed_snapshots_total{{{_LABEL}}}[{RATE}]))", "snapshots"),
            ]),
            Panel("Set aside", "Events set aside a second, by reason.", "ops",
                  [(f"sum by (reason) (rate(luxor_feed_dead_letters_total{{{_LABEL}}}[{RATE}]))", "{{reason}}")]),
        ]),
    ],
    by_service=True,
)  # fmt: skip

TELEMETRY = Dashboard(
    "luxor-telemetry", "Luxor: telemetry", "Whether the telemetry of the services arrives, and what it costs.",
    [
        Row("Scrapes", [
            Panel("Answering", "Replicas of each service that answer the scrape.", "short",
                  [('sum by (service) (up{service=~"ingestion|risk|revenue|clearance|statistics"})', "{{service}}")]),
            Panel("Time of a scrape", "How long a scrape takes.", "s",
                  [('max by (service) (scrape_duration_seconds{service=~"ingestion|risk|revenue|clearance|statistics"})', "{{service}}")]),
            Panel("Series", "Series of a replica; bounded whatever the traffic.", "short",
                  [('max by (service) (scrape_samples_scraped{service=~"ingestion|risk|revenue|clearance|statistics"})', "{{service}}")]),
        ]),
        Row("Spans and logs", [
            Panel("Spans dropped", "Spans a second that were lost on their way, by where to.", "ops",
                  [(f"sum by (service, sink) (rate(luxor_spans_dropped_total[{RATE}]))", "{{service}} to {{sink}}")]),
            Panel("Spans that wait", "Spans that wait to be sent to the collector, or written to the service's own records.", "short",
                  [("sum by (service, sink) (luxor_spans_waiting)", "{{service}} to {{sink}}")]),
            Panel("Lines of the log", "Lines a second by level.", "ops",
                  [(f"sum by (level) (rate(luxor_log_lines_total[{RATE}]))", "{{level}}")], stack=True),
            Panel("Lines that were not written", "left_out: their reason spoke too often; unwritten: stderr was slow or gone.", "ops",
                  [(f"sum by (service, cause) (rate(luxor_log_lines_lost_total[{RATE}]))", "{{service}} {{cause}}")]),
        ]),
        Row("Trust in the figures", [
            Panel("Age of the gauges", "Time since each service last read these gauges from its store.", "s",
                  [("time() - min by (service) (luxor_store_gauges_updated_timestamp_seconds)", "{{service}}")]),
            Panel("Clocks", "Ages of events that came out negative, a second.", "ops",
                  [(f"sum by (service, where) (rate(luxor_clock_skew_total[{RATE}]))", "{{service}} {{where}}")]),
            Panel("Unknown fields", "Fields in requests that the service does not know, a second, by method.", "ops",
                  [(f"sum by (method) (rate(luxor_unknown_fields_total[{RATE}]))", "{{method}}")]),
        ]),
    ],
)  # fmt: skip

ALL = (FLOW, SERVICE, TELEMETRY)


def files() -> dict[Path, str]:
    """Return each file with its text."""
    return {
        DASHBOARDS / f"{each.uid}.json": json.dumps(each.json(), indent=1, ensure_ascii=False) + "\n" for each in ALL
    }


def main() -> int:
    """Write the files, or with --check say whether they are current."""
    if "--check" in sys.argv[1:]:
        stale = [path.name for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text]
        if stale:
            print(
                f"{', '.join(stale)} in {DASHBOARDS.relative_to(ROOT)} differ from tools/dashboards.py; run: {COMMAND}",
                file=sys.stderr,
            )
        return 1 if stale else 0
    DASHBOARDS.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
