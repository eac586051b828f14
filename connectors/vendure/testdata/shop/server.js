'use strict';

// A Vendure shop for tests: everything in memory, one country, one shipping method, one payment method that settles at
// once and one that only authorizes. It listens on a free port of the loopback address, prints "READY <port>" when it
// can be used, and ends with its standard input, so that it never outlives the test that started it.
//
// Environment: SHOP_USERNAME and SHOP_PASSWORD of the administrator; SHOP_HOOK_URL and SHOP_HOOK_SECRET, where set, are
// where the truestock plugin posts to; SHOP_PLUGIN is the folder of that plugin.

const {
    bootstrap,
    dummyPaymentHandler,
    LanguageCode,
    DefaultLogger,
    JobQueueService,
    LogLevel,
    Populator,
} = require('@vendure/core');

const plugins = [];
if (process.env.SHOP_HOOK_URL) {
    const { TruestockPlugin } = require(process.env.SHOP_PLUGIN);
    plugins.push(
        TruestockPlugin.init({
            url: process.env.SHOP_HOOK_URL,
            secret: process.env.SHOP_HOOK_SECRET,
            quietMilliseconds: 50,
        }),
    );
}

const config = {
    apiOptions: { hostname: '127.0.0.1', port: 0, adminApiPath: 'admin-api', shopApiPath: 'shop-api', cors: false },
    authOptions: {
        tokenMethod: ['bearer', 'api-key'],
        superadminCredentials: {
            identifier: process.env.SHOP_USERNAME,
            password: process.env.SHOP_PASSWORD,
        },
        requireVerification: false,
        // The real one takes a quarter of a second per login, on purpose.
        passwordHashingStrategy: { hash: async text => text, check: async (text, hash) => text === hash },
    },
    dbConnectionOptions: { type: 'better-sqlite3', database: ':memory:', synchronize: true, logging: false },
    paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
    catalogOptions: {
        // The shop front tells the exact number, so that a test can compare it.
        stockDisplayStrategy: { getStockLevel: (ctx, variant, saleable) => String(saleable) },
    },
    logger: new DefaultLogger({ level: LogLevel.Warn, timestamp: false }),
    plugins,
};

const initialData = {
    defaultLanguage: LanguageCode.en,
    defaultZone: 'Europe',
    countries: [{ name: 'Germany', code: 'DE', zone: 'Europe' }],
    taxRates: [{ name: 'Standard Tax', percentage: 20 }],
    shippingMethods: [{ name: 'Standard Shipping', price: 500 }],
    paymentMethods: [
        {
            name: 'Settled',
            handler: {
                code: dummyPaymentHandler.code,
                arguments: [{ name: 'automaticSettle', value: 'true' }],
            },
        },
        {
            name: 'Authorized',
            handler: {
                code: dummyPaymentHandler.code,
                arguments: [{ name: 'automaticSettle', value: 'false' }],
            },
        },
    ],
    roles: [],
    collections: [],
};

async function main() {
    const app = await bootstrap(config);
    await app.get(Populator).populateInitialData(initialData);
    await app.get(JobQueueService).start(); // what a worker does in a shop of several processes
    console.log(`READY ${app.getHttpServer().address().port}`);
    process.stdin.on('end', () => process.exit(0)).resume();
}

main().catch(err => {
    console.error(err);
    process.exit(1);
});
