// Runs Prism between the tests and a pretend Amazon: node serve.js SPECIFICATION PORT UPSTREAM. It ends with its standard input.
'use strict';

const { spawn } = require('node:child_process');
const path = require('node:path');

const [, , specification, port, upstream] = process.argv;
const cli = path.join(process.env.NODE_PATH, '@stoplight/prism-cli/dist/index.js');
const prism = spawn(process.execPath, [cli, 'proxy', '--host', '127.0.0.1', '--port', port, specification, upstream], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
let said = '';
prism.stdout.on('data', (chunk) => {
  process.stderr.write(chunk);
  said = (said + chunk).slice(-4096);
  if (said.includes('Prism is listening')) {
    said = '';
    console.log(`READY http://127.0.0.1:${port}`);
  }
});
prism.on('exit', (code) => process.exit(code ?? 1));
process.stdin.resume();
process.stdin.on('end', () => prism.kill());
