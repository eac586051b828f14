'use strict';

// The truestock subscriber for Medusa 2: it posts a signed hint to truestock when orders or stock change. A hint says
// where to look and nothing more; truestock then reads the shop through the admin API. A lost hint costs time, never
// correctness, because truestock looks by itself at intervals too.
//
// Environment: TRUESTOCK_WEBHOOK_URL, the address of the connection's webhook at truestock, without which nothing is
// posted, and TRUESTOCK_WEBHOOK_SECRET, the Standard Webhooks secret that the connection has in webhook_secrets.

const { createHmac, randomUUID } = require('node:crypto');

const answerTimeoutMilliseconds = 15000;
const mostNames = 100; // names in one hint; beyond that the hint is as good without them

// What Medusa emits (@medusajs/utils, core-flows/events and inventory/events). The payload is {id}; of a fulfillment or
// a return also {order_id}. Reservations change what is for sale without a change of stock.
const orderEvents = [
    'order.placed',
    'order.updated',
    'order.canceled',
    'order.completed',
    'order.archived',
    'order.fulfillment_created',
    'order.fulfillment_canceled',
    'order.return_received',
    'order-edit.confirmed',
    'shipment.created',
    'delivery.created',
];
const stockEvents = [
    'inventory.inventory-level.created',
    'inventory.inventory-level.updated',
    'inventory.inventory-level.deleted',
    'inventory.reservation-item.created',
    'inventory.reservation-item.updated',
    'inventory.reservation-item.deleted',
];

const waiting = new Map();

async function truestockHandler({ event, container }) {
    const url = process.env.TRUESTOCK_WEBHOOK_URL;
    if (!url) {
        return;
    }
    const type = orderEvents.includes(event.name) ? 'order.changed' : 'stock.changed';
    const id = type === 'order.changed' ? orderOf(event) : event.data?.id;
    hint(type, [id].flat().filter(Boolean), { url, key: signingKey(), logger: container.resolve('logger') });
}

/** The id of the order that an event is about; events of shipments and deliveries tell only their own. */
function orderOf({ name, data }) {
    return name.startsWith('order.') ? (data?.order_id ?? data?.id) : data?.order_id;
}

/** Collects what changed within a short while into one hint per type: a busy shop must not flood truestock. */
function hint(type, names, to) {
    const collected = waiting.get(type);
    if (collected) {
        names.forEach(name => collected.add(name));
        return;
    }
    waiting.set(type, new Set(names));
    const quiet = Number(process.env.TRUESTOCK_WEBHOOK_QUIET_MS ?? 250);
    setTimeout(() => {
        const all = waiting.get(type);
        waiting.delete(type);
        const listed = all.size <= mostNames ? [...all].sort() : [];
        const data = type === 'order.changed' ? { order_ids: listed } : { inventory_ids: listed };
        const message = { type, timestamp: new Date().toISOString(), data };
        // The id is made here, once, so that truestock recognises a repeated delivery.
        void post({ id: `msg_${randomUUID()}`, type, body: JSON.stringify(message) }, to);
    }, quiet).unref();
}

/** Reads a Standard Webhooks secret: base64 of 24 to 64 bytes behind "whsec_". */
function signingKey() {
    const secret = process.env.TRUESTOCK_WEBHOOK_SECRET ?? '';
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    if (!secret.startsWith('whsec_') || key.length < 24 || key.length > 64) {
        throw new Error('TRUESTOCK_WEBHOOK_SECRET must be "whsec_" and the base64 of 24 to 64 random bytes');
    }
    return key;
}

/** Posts a hint, and again after 1, 5 and 25 seconds while it fails. */
async function post(message, { url, key, logger }, wait = 1000) {
    try {
        await deliver(message, url, key);
    } catch (err) {
        if (wait > 25000) {
            logger.warn(`truestock was not told of ${message.type}, and finds it by itself later: ${err.message}`);
            return;
        }
        setTimeout(() => void post(message, { url, key, logger }, wait * 5), wait).unref();
    }
}

/** Signs and posts one hint. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
async function deliver({ id, body }, url, key) {
    const timestamp = Math.floor(Date.now() / 1000);
    const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
    const response = await fetch(url, {
        method: 'POST',
        redirect: 'manual',
        signal: AbortSignal.timeout(answerTimeoutMilliseconds),
        headers: {
            'content-type': 'application/json',
            'webhook-id': id,
            'webhook-timestamp': String(timestamp),
            'webhook-signature': `v1,${signature}`,
        },
        body,
    });
    await response.arrayBuffer();
    if (response.status < 200 || response.status > 299) {
        throw new Error(`truestock answered ${response.status}`);
    }
}

module.exports = {
    default: truestockHandler,
    config: { event: [...orderEvents, ...stockEvents], context: { subscriberId: 'truestock' } },
};
