"""Every number a user can meet, in one frozen record. `[limits]` of chatd.toml overrides each by its name.

The rule: a bound that can refuse, delay or drop something has its number here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes are in bytes unless the name says characters; times are in seconds."""

    message_characters: int = 4_000
    topic_characters: int = 300
    reason_characters: int = 300
    away_characters: int = 300
    line_bytes: int = 8_192
    json_line_bytes: int = 1_048_576
    connections: int = 20_000
    connections_per_address: int = 100
    strangers: int = 5_000
    process_bytes: int = 4_294_967_296
    lines_burst: int = 60
    lines_per_second: float = 20.0
    calls_burst: int = 300
    calls_per_second: float = 100.0
    bytes_burst: int = 4_194_304
    bytes_per_second: float = 524_288.0
    waiting_lines: int = 64
    waiting_bytes: int = 2_097_152
    registrations_per_hour: int = 20
    guests_per_hour: int = 60
    login_tries: int = 3
    login_wait: float = 40.0
    login_wait_most: float = 900.0
    login_forget: float = 900.0
    logins_at_once: int = 16
    login_seconds: float = 300.0
    idle_seconds: float = 604_800.0
    keepalive_seconds: int = 60
    door_after: float = 0.3
    nonsense_lines: int = 50
    group_members: int = 5_000
    sealed_devices: int = 256
    account_devices: int = 16
    one_time_keys: int = 50
    claims_per_hour: int = 20
    envelope_days: int = 30
    sealed_characters: int = 65_536
    envelope_characters: int = 4_096
    proof_characters: int = 4_096
    prekey_characters: int = 1_024
    manifest_characters: int = 65_536
    vault_characters: int = 65_536
    groups_per_account: int = 500
    group_people_at_creation: int = 100
    history_lines: int = 50
    history_lines_most: int = 500
    replay_lines: int = 200
    send_buffer_bytes: int = 65_536
    ring_bytes: int = 8_388_608
    passwords_waiting: int = 256
    write_lock_seconds: float = 3.0
    batch_calls: int = 500
    session_days: int = 30
    presence_members: int = 500
    monitored_people: int = 100
    retention_events: int = 200
    cursor_seconds: float = 5.0
    file_bytes: int = 10_000_000_000
    account_file_bytes: int = 20_000_000_000
    room_file_bytes: int = 50_000_000_000
    file_name_characters: int = 1_000
    file_days: int = 30
    upload_hours: int = 24
    ticket_seconds: float = 600.0
    transfer_seconds: float = 60.0
    transfers: int = 500
    account_transfers: int = 100
    account_tickets: int = 100
    account_uploads: int = 100
    disk_reserve_bytes: int = 67_108_864
    proxy_header_seconds: float = 3.0
    drain_seconds: float = 4.0
    limit_loopback: bool = False
