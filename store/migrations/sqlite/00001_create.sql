-- +goose Up
-- Text compares by bytes, which is what keyset paging relies on. Tables that are found by their key alone have no rowid.

-- What came in. Rows are never changed; what is still to be done stands in due, whose rows go away.
CREATE TABLE inbox (
    id          INTEGER PRIMARY KEY,
    connection  TEXT NOT NULL,
    key         TEXT NOT NULL,
    type        TEXT NOT NULL,
    format      TEXT NOT NULL,
    body        BLOB NOT NULL,
    body_hash   BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    UNIQUE (connection, key)
);
CREATE TABLE due (
    event INTEGER PRIMARY KEY
);
CREATE TABLE parked (
    event  INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    at     INTEGER NOT NULL
);
-- What was answered to those who ask before they sell: once for each question, whoever answered first.
CREATE TABLE admissions (
    event    INTEGER PRIMARY KEY,
    decision TEXT NOT NULL,
    reason   TEXT NOT NULL,
    at       INTEGER NOT NULL
);
-- What a parked event waits for: a listing, or a SKU where connection is empty.
CREATE TABLE parked_waits (
    event      INTEGER NOT NULL REFERENCES parked (event) ON DELETE CASCADE,
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    sku        TEXT NOT NULL,
    PRIMARY KEY (event, connection, item, place, sku)
) WITHOUT ROWID;
CREATE INDEX parked_waits_listing ON parked_waits (connection, item, place) WHERE connection <> '';
CREATE INDEX parked_waits_sku ON parked_waits (sku) WHERE sku <> '';

-- The ledger. Instants are nanoseconds since 1970 in UTC, 0 for none; order documents are JSON.
CREATE TABLE orders (
    channel  TEXT NOT NULL,
    order_id TEXT NOT NULL,
    doc      TEXT NOT NULL,
    -- When the order last changed, where its channel restocked more than was cancelled, else 0.
    restocked_at INTEGER NOT NULL,
    PRIMARY KEY (channel, order_id)
) WITHOUT ROWID;
CREATE INDEX orders_restocked ON orders (channel, restocked_at) WHERE restocked_at <> 0;
CREATE TABLE commitments (
    sku          TEXT NOT NULL,
    channel      TEXT NOT NULL,
    order_id     TEXT NOT NULL,
    line_id      TEXT NOT NULL,
    location     TEXT NOT NULL,
    quantity     INTEGER NOT NULL,
    item         TEXT NOT NULL,
    place        TEXT NOT NULL,
    channel_open INTEGER NOT NULL,
    accepted_at  INTEGER NOT NULL,
    PRIMARY KEY (sku, channel, order_id, line_id)
) WITHOUT ROWID;
CREATE INDEX commitments_open ON commitments (channel, item, place) WHERE channel_open <> 0;
-- What order lines want of the articles that are sold by windows or by keys.
CREATE TABLE sales (
    sku       TEXT NOT NULL,
    channel   TEXT NOT NULL,
    order_id  TEXT NOT NULL,
    line_id   TEXT NOT NULL,
    units     INTEGER NOT NULL,
    placed_at INTEGER NOT NULL,
    PRIMARY KEY (sku, channel, order_id, line_id)
) WITHOUT ROWID;
CREATE INDEX sales_placed ON sales (sku, placed_at, units);
-- What order lines take of the resources of services, each in the window in which it is booked. Rows of 0 units were freed.
CREATE TABLE bookings (
    resource  TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    channel   TEXT NOT NULL,
    order_id  TEXT NOT NULL,
    line_id   TEXT NOT NULL,
    sku       TEXT NOT NULL,
    ends_at   INTEGER NOT NULL,
    units     INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (resource, starts_at, channel, order_id, line_id, sku)
) WITHOUT ROWID;
CREATE INDEX bookings_ends ON bookings (resource, ends_at) WHERE units <> 0;
-- The keys of licences, encrypted. A key is assigned to one unit of one order line, for ever; a unit whose key was revoked may have
-- another.
CREATE TABLE keys (
    id          INTEGER PRIMARY KEY,
    sku         TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    -- Of which secret sealed and digest are.
    secret      BLOB NOT NULL,
    digest      BLOB NOT NULL UNIQUE,
    channel     TEXT NOT NULL,
    order_id    TEXT NOT NULL,
    line_id     TEXT NOT NULL,
    unit        INTEGER NOT NULL,
    imported_at INTEGER NOT NULL,
    assigned_at INTEGER NOT NULL,
    revealed_at INTEGER NOT NULL,
    revoked_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX keys_unit ON keys (channel, order_id, line_id, sku, unit) WHERE unit > 0 AND revoked_at = 0;
CREATE INDEX keys_sku ON keys (sku, id);
CREATE INDEX keys_free ON keys (sku, id) WHERE unit = 0 AND revoked_at = 0;
CREATE TABLE statements (
    sku        TEXT NOT NULL,
    location   TEXT NOT NULL,
    connection TEXT NOT NULL,
    quantity   INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    source_at  INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    event      INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (sku, location, connection)
) WITHOUT ROWID;
CREATE TABLE movements (
    connection TEXT NOT NULL,
    key        TEXT NOT NULL,
    sku        TEXT NOT NULL,
    location   TEXT NOT NULL,
    delta      INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    source_at  INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    covered    BOOLEAN NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (connection, key, sku, location)
) WITHOUT ROWID;
CREATE INDEX movements_uncovered ON movements (sku, location) WHERE NOT covered;
CREATE INDEX movements_level ON movements (sku, location, at);
CREATE TABLE levels (
    sku         TEXT NOT NULL,
    location    TEXT NOT NULL,
    incoming    INTEGER NOT NULL,
    available   INTEGER NOT NULL,
    reserved    INTEGER NOT NULL,
    committed   INTEGER NOT NULL,
    unavailable INTEGER NOT NULL,
    hash        BLOB,
    PRIMARY KEY (sku, location)
) WITHOUT ROWID;
CREATE TABLE postings (
    id         INTEGER PRIMARY KEY,
    sku        TEXT NOT NULL,
    location   TEXT NOT NULL,
    from_state INTEGER NOT NULL,
    to_state   INTEGER NOT NULL,
    quantity   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    cause      TEXT NOT NULL,
    event      INTEGER NOT NULL,
    reference  TEXT NOT NULL,
    previous   BLOB,
    hash       BLOB
);
CREATE INDEX postings_sku ON postings (sku, id);
-- What something was from an instant on: statements, open movements and promises, links, rules, what was read back. An
-- empty value says that it ended.
CREATE TABLE versions (
    subject TEXT NOT NULL,
    key     TEXT NOT NULL,
    at      INTEGER NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (subject, key, at)
) WITHOUT ROWID;
-- The names that stand for another SKU since a rename or a merge.
CREATE TABLE aliases (
    name TEXT PRIMARY KEY,
    sku  TEXT NOT NULL
) WITHOUT ROWID;
-- The SKUs whose listings are to be planned.
CREATE TABLE dirty (
    sku    TEXT PRIMARY KEY,
    stated BOOLEAN NOT NULL
) WITHOUT ROWID;
-- The SKUs whose listings are to be planned when a time comes.
CREATE TABLE dirty_later (
    at  INTEGER NOT NULL,
    sku TEXT NOT NULL,
    PRIMARY KEY (at, sku)
) WITHOUT ROWID;

-- The mapping: links and kits as they were imported, components with every kit resolved.
CREATE TABLE items (
    sku      TEXT PRIMARY KEY,
    gtin     TEXT NOT NULL,
    name     TEXT NOT NULL,
    kind     TEXT NOT NULL,
    category TEXT NOT NULL,
    search   TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE links (
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    sku        TEXT NOT NULL,
    units      INTEGER NOT NULL,
    PRIMARY KEY (connection, item, place, sku)
) WITHOUT ROWID;
CREATE INDEX links_sku ON links (sku);
CREATE TABLE kits (
    sku       TEXT NOT NULL,
    component TEXT NOT NULL,
    units     INTEGER NOT NULL,
    PRIMARY KEY (sku, component)
) WITHOUT ROWID;
CREATE INDEX kits_component ON kits (component);
CREATE TABLE components (
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    sku        TEXT NOT NULL,
    units      INTEGER NOT NULL,
    PRIMARY KEY (connection, item, place, sku)
) WITHOUT ROWID;
CREATE INDEX components_sku ON components (sku, connection, item, place);

-- The listings, what they should show and what they show. held_by is the plan that holds a listing back.
CREATE TABLE listings (
    connection           TEXT NOT NULL,
    item                 TEXT NOT NULL,
    place                TEXT NOT NULL,
    sku                  TEXT NOT NULL DEFAULT '',
    gtin                 TEXT NOT NULL DEFAULT '',
    title                TEXT NOT NULL DEFAULT '',
    status               TEXT NOT NULL DEFAULT '',
    mapped               BOOLEAN NOT NULL DEFAULT FALSE,
    target               INTEGER,
    generation           INTEGER NOT NULL DEFAULT 0,
    held                 TEXT NOT NULL DEFAULT '',
    published            INTEGER,
    published_generation INTEGER NOT NULL DEFAULT 0,
    published_at         INTEGER NOT NULL DEFAULT 0,
    confirmed            INTEGER,
    confirmed_generation INTEGER NOT NULL DEFAULT 0,
    confirmed_at         INTEGER NOT NULL DEFAULT 0,
    last_error           TEXT NOT NULL DEFAULT '',
    attempts             INTEGER NOT NULL DEFAULT 0,
    recheck_at           INTEGER NOT NULL DEFAULT 0,
    changed_at           INTEGER NOT NULL DEFAULT 0,
    cleared              INTEGER NOT NULL DEFAULT 0,
    held_by              INTEGER NOT NULL DEFAULT 0,
    peak                 INTEGER NOT NULL DEFAULT 0,
    writes               INTEGER NOT NULL DEFAULT 0,
    taken                INTEGER NOT NULL DEFAULT 0,
    published_taken      INTEGER NOT NULL DEFAULT 0,
    confirmed_taken      INTEGER NOT NULL DEFAULT 0,
    foreign_count        INTEGER NOT NULL DEFAULT 0,
    foreign_at           INTEGER NOT NULL DEFAULT 0,
    contested_at         INTEGER NOT NULL DEFAULT 0,
    unknown_id           TEXT NOT NULL DEFAULT '',
    unknown_delta        INTEGER,
    unknown_quantity     INTEGER,
    unknown_taken        INTEGER,
    stop_wanted          BOOLEAN NOT NULL DEFAULT FALSE,
    stopped              BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (connection, item, place)
) WITHOUT ROWID;
-- How many listings of a channel show more than zero, kept by whoever changes what they show.
CREATE TABLE showing (
    connection TEXT PRIMARY KEY,
    listings   INTEGER NOT NULL
) WITHOUT ROWID;
-- The listings that somebody must look at. marked_at is when that was last asked for.
CREATE TABLE push_due (
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    lower      BOOLEAN NOT NULL,
    due_at     INTEGER NOT NULL,
    marked_at  INTEGER NOT NULL,
    PRIMARY KEY (connection, item, place)
) WITHOUT ROWID;
CREATE INDEX push_due_next ON push_due (connection, lower, due_at, item, place);
CREATE TABLE pushes (
    id         INTEGER PRIMARY KEY,
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    quantity   INTEGER NOT NULL,
    expect     INTEGER,
    delta      INTEGER,
    outcome    TEXT NOT NULL,
    error      TEXT NOT NULL,
    jump       TEXT NOT NULL,
    at         INTEGER NOT NULL,
    -- When the channel was found to show what was written, where that was at once, else 0.
    shown_at   INTEGER NOT NULL
);
CREATE INDEX pushes_listing ON pushes (connection, item, place, id);
CREATE INDEX pushes_jump ON pushes (connection, at) WHERE jump <> '';

-- What is set aside for sales that only a reading tells of; parts are JSON.
CREATE TABLE reservations (
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    taken      INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    drained_to INTEGER NOT NULL,
    parts      TEXT NOT NULL,
    PRIMARY KEY (connection, item, place)
) WITHOUT ROWID;

-- What became of the campaigns, as JSON, and what happened to each, once: n is 0 for its start, the number of a tranche, or -1
-- for its end.
CREATE TABLE pools (
    campaign TEXT PRIMARY KEY,
    sku      TEXT NOT NULL,
    doc      TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX pools_sku ON pools (sku);
CREATE TABLE pool_steps (
    campaign   TEXT NOT NULL,
    n          INTEGER NOT NULL,
    planned_at INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    quantity   INTEGER NOT NULL,
    PRIMARY KEY (campaign, n)
) WITHOUT ROWID;

-- What other systems must hear of.
CREATE TABLE forwards (
    channel    TEXT NOT NULL,
    order_id   TEXT NOT NULL,
    connection TEXT NOT NULL,
    want       INTEGER NOT NULL,
    done       INTEGER NOT NULL DEFAULT 0,
    sent       TEXT NOT NULL DEFAULT '',
    number     TEXT NOT NULL DEFAULT '',
    told       TEXT NOT NULL DEFAULT '',
    amended    INTEGER NOT NULL DEFAULT 0,
    refused    BOOLEAN NOT NULL DEFAULT FALSE,
    attempts   INTEGER NOT NULL DEFAULT 0,
    due_at     INTEGER NOT NULL,
    error      TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (channel, order_id)
) WITHOUT ROWID;
CREATE INDEX forwards_due ON forwards (connection, due_at) WHERE want > done;
CREATE TABLE notices (
    channel  TEXT NOT NULL,
    key      TEXT NOT NULL,
    order_id TEXT NOT NULL,
    lines    TEXT NOT NULL,
    carrier  TEXT NOT NULL,
    tracking TEXT NOT NULL,
    due_at   INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    done     BOOLEAN NOT NULL,
    error    TEXT NOT NULL,
    PRIMARY KEY (channel, key)
) WITHOUT ROWID;
CREATE INDEX notices_due ON notices (channel, due_at) WHERE NOT done;

-- Bookmarks, pauses and what people decide.
CREATE TABLE bookmarks (
    connection TEXT NOT NULL,
    feed       TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (connection, feed)
) WITHOUT ROWID;
CREATE TABLE pauses (
    connection TEXT PRIMARY KEY,
    reason     TEXT NOT NULL,
    at         INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE plans (
    id         INTEGER PRIMARY KEY,
    connection TEXT NOT NULL,
    state      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    changes    TEXT NOT NULL,
    facts      TEXT NOT NULL,
    events     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    decided_by TEXT NOT NULL
);
CREATE INDEX plans_state ON plans (state, id);
CREATE TABLE incidents (
    id        INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    message   TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX incidents_open ON incidents (kind, subject) WHERE closed_at = 0;
CREATE INDEX incidents_subject ON incidents (kind, subject, opened_at);
-- How order lines are made good on which an oversell falls. due_at is 0 where nothing is to be done about one by itself.
CREATE TABLE remedies (
    incident     INTEGER NOT NULL,
    channel      TEXT NOT NULL,
    order_id     TEXT NOT NULL,
    line_id      TEXT NOT NULL,
    sku          TEXT NOT NULL,
    units        INTEGER NOT NULL,
    packs        INTEGER NOT NULL,
    cancelled_to INTEGER NOT NULL,
    choice       INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    substitute   TEXT NOT NULL,
    ready_at     INTEGER NOT NULL,
    compensation INTEGER NOT NULL,
    message      TEXT NOT NULL,
    state        TEXT NOT NULL,
    by_hand      BOOLEAN NOT NULL,
    error        TEXT NOT NULL,
    attempts     INTEGER NOT NULL,
    chosen_by    TEXT NOT NULL,
    finished_by  TEXT NOT NULL,
    chosen_at    INTEGER NOT NULL,
    sent_at      INTEGER NOT NULL,
    ended_at     INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    PRIMARY KEY (incident, channel, order_id, line_id)
) WITHOUT ROWID;
CREATE INDEX remedies_sku ON remedies (sku);
CREATE INDEX remedies_due ON remedies (due_at) WHERE due_at <> 0;

-- What people are told: stored with its cause, then spread over the channels that take it. key keeps one cause from being
-- told twice; data is JSON. A delivery is due until it was sent or given up; those of one channel with the same batch, which
-- is an instant, go out together.
CREATE TABLE messages (
    id      INTEGER PRIMARY KEY,
    key     TEXT NOT NULL,
    type    TEXT NOT NULL,
    subject TEXT NOT NULL,
    title   TEXT NOT NULL,
    text    TEXT NOT NULL,
    data    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    spread  BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE UNIQUE INDEX messages_key ON messages (key);
CREATE INDEX messages_new ON messages (id) WHERE NOT spread;
CREATE INDEX messages_at ON messages (at);
CREATE TABLE deliveries (
    message  INTEGER NOT NULL,
    channel  TEXT NOT NULL,
    state    TEXT NOT NULL,
    batch    INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    due_at   INTEGER NOT NULL,
    sent_at  INTEGER NOT NULL,
    error    TEXT NOT NULL,
    PRIMARY KEY (message, channel)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (due_at, channel, batch) WHERE state = 'due';

-- The crossings of thresholds, and the urgent replenishments; one of each subject is open at a time.
CREATE TABLE alerts (
    id              INTEGER PRIMARY KEY,
    subject         TEXT NOT NULL,
    low_at          INTEGER NOT NULL,
    level           INTEGER NOT NULL,
    threshold       INTEGER NOT NULL,
    sent            INTEGER NOT NULL,
    sent_at         INTEGER NOT NULL,
    closed_at       INTEGER NOT NULL,
    acknowledged_at INTEGER NOT NULL DEFAULT 0,
    acknowledged_by TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX alerts_open ON alerts (subject) WHERE closed_at = 0;
CREATE TABLE replenishments (
    id         INTEGER PRIMARY KEY,
    sku        TEXT NOT NULL,
    raised_at  INTEGER NOT NULL,
    cleared_at INTEGER NOT NULL,
    change     TEXT NOT NULL,
    safety     INTEGER NOT NULL,
    threshold  INTEGER NOT NULL,
    point      INTEGER NOT NULL,
    total      INTEGER NOT NULL,
    on_order   INTEGER NOT NULL,
    missing    INTEGER NOT NULL
);
CREATE UNIQUE INDEX replenishments_open ON replenishments (sku) WHERE cleared_at = 0;
-- What was measured of the sales of SKUs, as JSON, whenever it was another than before.
CREATE TABLE measures (
    sku TEXT NOT NULL,
    at  INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (sku, at)
) WITHOUT ROWID;
CREATE TABLE tokens (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL
);

-- What people decided, and the trail of it. Versions and entries are only ever appended; an empty value says that the
-- setting is removed. Entries are chained by their hashes.
CREATE TABLE settings (
    id           INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL,
    key          TEXT NOT NULL,
    version      INTEGER NOT NULL,
    value        TEXT NOT NULL,
    effective_at INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    by           TEXT NOT NULL,
    reason       TEXT NOT NULL,
    UNIQUE (kind, key, version)
);
-- The listings that a version of a setting touched, with their generations of then: what is newer contains the version.
CREATE TABLE setting_listings (
    setting    INTEGER NOT NULL,
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (setting, connection, item, place)
) WITHOUT ROWID;
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    by       TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    before   TEXT NOT NULL,
    after    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    previous BLOB,
    hash     BLOB NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);

-- What is to be counted, was counted, and was decided about it. A difference that was approved is a movement under the key
-- count:STOCKTAKE:LINE; as_of is that of the last count, due_at when the difference is to be sent to the system of record, 0
-- when it is not. The rest of a line is JSON.
CREATE TABLE stocktakes (
    id         INTEGER PRIMARY KEY,
    plan       TEXT NOT NULL,
    occurrence INTEGER NOT NULL,
    rule       TEXT NOT NULL,
    made_at    INTEGER NOT NULL,
    made_by    TEXT NOT NULL,
    closed_at  INTEGER NOT NULL
);
CREATE UNIQUE INDEX stocktakes_occurrence ON stocktakes (plan, occurrence) WHERE plan <> '';
CREATE TABLE stocktake_lines (
    stocktake  INTEGER NOT NULL,
    n          INTEGER NOT NULL,
    sku        TEXT NOT NULL,
    location   TEXT NOT NULL,
    connection TEXT NOT NULL,
    state      TEXT NOT NULL,
    due_at     INTEGER NOT NULL,
    decided_at INTEGER NOT NULL,
    as_of      INTEGER NOT NULL,
    doc        TEXT NOT NULL,
    PRIMARY KEY (stocktake, n)
) WITHOUT ROWID;
CREATE INDEX stocktake_lines_level ON stocktake_lines (sku, location, state);
CREATE INDEX stocktake_lines_approved ON stocktake_lines (sku) WHERE state = 'approved';
CREATE INDEX stocktake_lines_due ON stocktake_lines (connection, due_at) WHERE due_at > 0;
CREATE INDEX stocktake_lines_as_of ON stocktake_lines (as_of);

-- Reconciliation.
CREATE TABLE occurrences (
    job        TEXT NOT NULL,
    occurrence INTEGER NOT NULL,
    claimed_at INTEGER NOT NULL,
    PRIMARY KEY (job, occurrence)
) WITHOUT ROWID;
CREATE TABLE runs (
    id         INTEGER PRIMARY KEY,
    job        TEXT NOT NULL,
    dry_run    BOOLEAN NOT NULL,
    state      TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    listings   INTEGER NOT NULL,
    drifted    INTEGER NOT NULL,
    unmapped   INTEGER NOT NULL,
    message    TEXT NOT NULL,
    -- How far it has come, and what was missing at the channels, as JSON.
    progress   TEXT NOT NULL,
    subscriptions TEXT NOT NULL
);
CREATE TABLE readings (
    run        INTEGER NOT NULL,
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    quantity   INTEGER NOT NULL,
    unlimited  BOOLEAN NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (run, connection, item, place)
) WITHOUT ROWID;
CREATE TABLE drifts (
    run        INTEGER NOT NULL,
    connection TEXT NOT NULL,
    item       TEXT NOT NULL,
    place      TEXT NOT NULL,
    target     INTEGER,
    shown      INTEGER,
    cause      TEXT NOT NULL,
    detail     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (run, connection, item, place)
) WITHOUT ROWID;
