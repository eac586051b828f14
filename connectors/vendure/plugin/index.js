'use strict';

// The truestock plugin for Vendure: it posts a signed hint to truestock when orders or stock change. A hint says where
// to look and nothing more; truestock then reads the shop through the admin API. A lost hint costs time, never
// correctness, because truestock looks by itself at intervals too.

const { createHmac, randomUUID } = require('node:crypto');
const {
    EventBus,
    FulfillmentStateTransitionEvent,
    JobQueueService,
    Logger,
    OrderLineEvent,
    OrderPlacedEvent,
    OrderStateTransitionEvent,
    PluginCommonModule,
    StockMovementEvent,
    VendurePlugin,
} = require('@vendure/core');

const context = 'TruestockPlugin';
const answerTimeoutMilliseconds = 15000;
const mostNames = 100; // names in one hint; beyond that the hint is as good without them

class TruestockPlugin {
    constructor(eventBus, jobQueueService) {
        this.eventBus = eventBus;
        this.jobQueueService = jobQueueService;
        this.waiting = new Map();
    }

    /** Takes the settings and returns the plugin for the `plugins` of a VendureConfig. */
    static init(options) {
        if (!/^https?:\/\//.test(options.url ?? '')) {
            throw new Error('truestock plugin: url must begin with http:// or https://');
        }
        TruestockPlugin.settings = {
            url: options.url,
            key: signingKey(options.secret ?? ''),
            quietMilliseconds: options.quietMilliseconds ?? 250,
        };
        return TruestockPlugin;
    }

    async onApplicationBootstrap() {
        if (!TruestockPlugin.settings) {
            throw new Error('truestock plugin: use TruestockPlugin.init({ url, secret }) in the plugins of the config');
        }
        this.queue = await this.jobQueueService.createQueue({
            name: 'truestock-hint',
            process: job => deliver(job.data, TruestockPlugin.settings),
        });
        // The event bus hands an event on after its transaction was committed, so truestock reads what it is about.
        const orders = event => this.hint('order.changed', [event.order.code]);
        this.subscriptions = [
            this.eventBus.ofType(OrderPlacedEvent).subscribe(orders),
            this.eventBus.ofType(OrderStateTransitionEvent).subscribe(event => {
                if (event.order.orderPlacedAt) {
                    orders(event);
                }
            }),
            this.eventBus.ofType(OrderLineEvent).subscribe(event => {
                if (event.type === 'cancelled') {
                    orders(event);
                }
            }),
            this.eventBus
                .ofType(FulfillmentStateTransitionEvent)
                .subscribe(() => this.hint('order.changed', [])),
            this.eventBus
                .ofType(StockMovementEvent)
                .subscribe(event =>
                    this.hint('stock.changed', event.stockMovements.map(m => String(m.productVariant.id))),
                ),
        ];
    }

    onApplicationShutdown() {
        for (const subscription of this.subscriptions ?? []) {
            subscription.unsubscribe();
        }
        for (const { timer } of this.waiting.values()) {
            clearTimeout(timer);
        }
    }

    /** Collects what changed within a short while into one hint per type: a busy shop must not flood truestock. */
    hint(type, names) {
        const waiting = this.waiting.get(type);
        if (waiting) {
            names.forEach(name => waiting.names.add(name));
            return;
        }
        const timer = setTimeout(() => this.enqueue(type), TruestockPlugin.settings.quietMilliseconds);
        timer.unref();
        this.waiting.set(type, { names: new Set(names), timer });
    }

    enqueue(type) {
        const { names } = this.waiting.get(type);
        this.waiting.delete(type);
        const listed = names.size <= mostNames ? [...names].sort() : [];
        const data = type === 'order.changed' ? { order_codes: listed } : { variant_ids: listed };
        const message = { type, timestamp: new Date().toISOString(), data };
        // The id is made here, once, so that truestock recognises a repeated delivery.
        this.queue
            .add({ id: `msg_${randomUUID()}`, body: JSON.stringify(message) }, { retries: 10 })
            .catch(err => Logger.warn(`the hint ${type} was not queued: ${err.message}`, context));
    }
}

/** Reads a Standard Webhooks secret: base64 of 24 to 64 bytes behind "whsec_". */
function signingKey(secret) {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    if (!secret.startsWith('whsec_') || key.length < 24 || key.length > 64) {
        throw new Error('truestock plugin: secret must be "whsec_" and the base64 of 24 to 64 random bytes');
    }
    return key;
}

/** Signs and posts one hint. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
async function deliver({ id, body }, { url, key }) {
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
    return { status: response.status };
}

// What the decorators of a TypeScript plugin would do.
Reflect.defineMetadata('design:paramtypes', [EventBus, JobQueueService], TruestockPlugin);
VendurePlugin({ imports: [PluginCommonModule], compatibility: '^3.0.0' })(TruestockPlugin);

module.exports = { TruestockPlugin };
