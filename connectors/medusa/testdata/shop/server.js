'use strict';

// A Medusa shop for tests, in the working folder, which has its medusa-config.js, and with the database of the
// environment's SHOP_DATABASE_URL. `node server.js migrate` makes the tables and ends; `node server.js` listens on a free
// port of the loopback address, prints "READY <port>" when it can be used, and ends with its standard input, so that it
// never outlives the test that started it. SHOP_EMAIL and SHOP_PASSWORD are those of its administrator.

const directory = process.cwd();

async function main() {
    if (process.argv[2] === 'migrate') {
        const migrate = require('@medusajs/medusa/commands/db/migrate').default;
        return migrate({ directory, executeSafeLinks: true, skipScripts: true, skipSearch: true });
    }
    process.stdin.on('end', () => process.exit(0)).resume();
    const start = require('@medusajs/medusa/commands/start').default;
    const { server } = await start({ directory, host: '127.0.0.1', port: 0 });
    await makeAdministrator();
    if (!server.listening) {
        await new Promise(resolve => server.once('listening', resolve));
    }
    console.log(`READY ${server.address().port}`);
}

// What `medusa user` does, without a second start of everything.
async function makeAdministrator() {
    const { container } = require('@medusajs/framework');
    const { Modules } = require('@medusajs/framework/utils');
    const email = process.env.SHOP_EMAIL;
    const { result: users } = await container
        .resolve(Modules.WORKFLOW_ENGINE)
        .run('create-users-workflow', { input: { users: [{ email }] } });
    const auth = container.resolve(Modules.AUTH);
    const { authIdentity, error } = await auth.register('emailpass', {
        body: { email, password: process.env.SHOP_PASSWORD },
    });
    if (error) {
        throw new Error(error);
    }
    await auth.updateAuthIdentities({ id: authIdentity.id, app_metadata: { user_id: users[0].id } });
}

main().catch(err => {
    console.error(err);
    process.exit(1);
});
