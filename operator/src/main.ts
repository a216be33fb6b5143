/** `dovecote`: one program, a role or a command per process. The only place that reads flags, the environment and the terminal. */
import { randomUUID } from 'node:crypto';
import { enableCompileCache } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { ApiClient, CommandError, runningLocal } from './cli/api-client.ts';
import { ask, type ChatOptions, converse } from './cli/chat.ts';
import { execInSession } from './cli/exec.ts';
import { getFile, listFiles, putFile } from './cli/files.ts';
import { explain, listDeadLetters, listDrops, listSessions, listUsage, type Output, retryDeadLetter } from './cli/inspect.ts';
import { mcpInSession } from './cli/mcp.ts';
import { dnsPeers, jsonObject, jsonObjects, keyValue, seconds, wholeNumber } from './flag-values.ts';
import { toError } from './lib/errors.ts';
import type { LocalOptions } from './local/start.ts';
import type { ControllerFlags, DeliveryFlags, GatewayFlags, ProxyFlags, RoleFlags } from './roles/flags.ts';
import { endSignal, firstAbort, foundation } from './roles/foundation.ts';

const [major = 0] = process.versions.node.split('.').map(Number);
if (major < 24) {
  process.stderr.write(
    `dovecote needs Node 24 or newer, and this is ${process.version}: run it through make, or put node_modules/node/bin first on PATH.\n`,
  );
  process.exit(78);
}

const write = (text: string): void => void process.stdout.write(text);
const here = dirname(fileURLToPath(import.meta.url));
const bundled = import.meta.url.endsWith('.mjs');
// Half of a start is compiling: what one process compiled, the next one reads. Does nothing where the folder cannot be written.
if (bundled) enableCompileCache(join(here, '.compiled'));
/** The runner as a child process: beside this bundle, or from source. */
const runnerProgram = [process.execPath, bundled ? join(here, '../runner/main.mjs') : join(here, '../../runner/src/main.ts')];
/** Roles and their libraries are loaded by the command that needs them: a command line that only asks starts in a blink. */
const roles = () => import('./roles/all.ts');

const program = new Command('dovecote')
  .description('Gives every chat conversation with an AI agent its own Pod and its own pair of SQLite files.')
  .showHelpAfterError()
  .configureHelp({ sortSubcommands: false });

function logLevel(level: string, what = 'what is logged'): Option {
  return new Option('--log-level <level>', what).choices(['trace', 'debug', 'info', 'warn', 'error']).default(level);
}

function role(name: 'controller' | 'gateway' | 'delivery' | 'proxy', summary: string): Command {
  return program
    .command(name)
    .description(summary)
    .addOption(logLevel('info'))
    .option('--health <address>', 'where /healthz, /readyz and /metrics answer', '127.0.0.1:9464')
    .option('--install <name>', 'name of the Helm release', 'dovecote')
    .option('--replica <name>', 'who this process is among its siblings', `${name}-${process.pid}`)
    .option('--namespace <name>', "the Pod's own when absent")
    .option('--kubeconfig <file>', "the Pod's service account, $KUBECONFIG or ~/.kube/config when absent")
    .option('--tokens <folder>', 'projected tokens, one file per audience', '/var/run/dovecote/tokens')
    .addOption(new Option('--crash-at <point>', 'for kill tests: SIGKILL at this point').hideHelp());
}

role('controller', 'turns custom resources into Pods, status and policies (leader elected)')
  .option('--shards <names>', 'every shard, separated by commas', '0')
  .requiredOption('--runner-image <image>', 'image of session Pods')
  .option('--runner-image-pull-policy <policy>', 'Always, IfNotPresent or Never', 'IfNotPresent')
  .option('--runner-image-pull-secrets <names>', 'of session Pods, separated by commas', '')
  .option('--runner-resources <json>', 'requests and limits of session Pods', jsonObject, {})
  .option('--runner-priority-class <name>', 'of session Pods')
  .option('--runner-tolerations <json>', 'of session Pods: they must be able to run where their delivery runs', jsonObjects, [])
  .option('--own-kernel-runtime-classes <names>', 'runtime classes that are refused, separated by commas')
  .requiredOption('--delivery-address <template>', 'host:port of a shard, with {shard}')
  .requiredOption('--proxy-url <url>', 'where session Pods reach the proxy')
  .option('--no-network-policies', 'agents get no NetworkPolicy; those that we made are removed')
  .option('--dns <json>', "where the cluster's DNS is, for NetworkPolicies: [{namespaceLabels, podLabels} or {cidr}]", dnsPeers)
  .option('--claim <template>', "name of a shard's PersistentVolumeClaim, with {shard}", 'data-dovecote-delivery-{shard}')
  .action(async (flags: RoleFlags & ControllerFlags) => {
    process.exitCode = await (await roles()).runController({ role: 'controller', ...flags });
  });

role('gateway', 'ends webhooks and socket connections, routes, and calls platforms for delivery')
  .option('--http <address>', 'webhooks, web chat and its API', '0.0.0.0:8080')
  .option('--grpc <address>', 'Platform, for delivery', '0.0.0.0:7071')
  .requiredOption('--delivery-address <template>', 'host:port of a shard, with {shard}')
  .option('--public-url <url>', 'where platforms reach the webhooks; they are then registered by the gateway')
  .option('--trust-proxy', 'a reverse proxy in front tells the address of the caller')
  .action(async (flags: RoleFlags & GatewayFlags) => {
    process.exitCode = await (await roles()).runGateway({ role: 'gateway', ...flags });
  });

role('delivery', 'owns a shard: stores events, wakes sessions, delivers answers')
  .option('--shard <name>', 'the shard; the number at the end of --replica when absent')
  .option('--root <folder>', "folder of the shard's volume", '/data')
  .option('--listen <address>', 'Inbox, Attach and Sessions', '0.0.0.0:7070')
  .requiredOption('--gateway <target>', 'gRPC target of the gateways, such as dns:///dovecote-gateway-platform:7071')
  .option('--max-awake <number>', 'sessions awake at once on this shard', wholeNumber(1), 100)
  .option('--orphan-wait <duration>', 'how long cells of an agent that is gone wait for it to come back', '24h')
  .option('--trash-retention <duration>', 'how long they then lie in the trash', '168h')
  .action(async (flags: RoleFlags & DeliveryFlags) => {
    process.exitCode = await (await roles()).runDelivery({ role: 'delivery', ...flags });
  });

role('proxy', 'the way of session Pods to models, MCP servers and allowed hosts: puts credentials in')
  .option('--listen <address>', 'for session Pods', '0.0.0.0:8082')
  .requiredOption('--delivery-address <template>', 'host:port of a shard, with {shard}')
  .action(async (flags: RoleFlags & ProxyFlags) => {
    process.exitCode = await (await roles()).runProxy({ role: 'proxy', ...flags });
  });

interface LocalFlags {
  manifests: string;
  state: string;
  port: number;
  fallbackProvider?: 'demo';
  maxAwake?: number;
  limits?: LocalOptions['limits'];
  output: 'text' | 'json';
  logLevel: string;
  crashAt?: string;
}

function localOptions(command: Command): Command {
  return command
    .option('--manifests <folder>', 'YAML of AgentGroups, Channels, MessagingGroups and Destinations', 'docs/examples')
    .option('--state <folder>', 'everything that outlives the process', '.local')
    .addOption(new Option('--fallback-provider <name>', 'what answers for agents whose key is not found').choices(['demo']));
}

async function beginLocal(flags: Omit<LocalFlags, 'output'>) {
  const { startLocal } = await import('./local/start.ts');
  return startLocal({
    ...foundation({ role: 'local', logLevel: flags.logLevel, crashAt: flags.crashAt }),
    manifests: flags.manifests,
    state: flags.state,
    port: flags.port,
    runner: runnerProgram,
    path: process.env['PATH'] ?? '/usr/bin:/bin',
    env: process.env,
    fallbackProvider: flags.fallbackProvider,
    maxAwake: flags.maxAwake,
    limits: flags.limits,
  });
}

localOptions(program.command('local').description('all roles in one process, Pods as child processes: no cluster needed'))
  .option('--port <number>', 'of the web chat; 0 chooses one', wholeNumber(0, 65_535), 8480)
  .option('--max-awake <number>', 'sessions awake at once', wholeNumber(1))
  .addOption(new Option('--output <form>', 'what is printed').choices(['text', 'json']).default('text'))
  .addOption(logLevel('warn'))
  .addOption(new Option('--crash-at <point>', 'for kill tests: SIGKILL at this point').hideHelp())
  .addOption(new Option('--limits <json>', 'for tests: {"delivery": …, "outbox": …, "runner": [flags]}').argParser(jsonObject).hideHelp())
  .action(async (flags: LocalFlags) => {
    const ended = endSignal();
    const local = await beginLocal(flags);
    if (flags.output === 'json') write(`${JSON.stringify({ event: 'ready', url: local.url, token: local.token })}\n`);
    else {
      write(`\nDovecote runs on this machine. Web chat:\n\n  ${local.url}/#token=${local.token}\n\n`);
      for (const agent of local.fallbacks) {
        write(`${agent} answers by the built-in demo provider, because no API key was found: set ANTHROPIC_API_KEY for the real model.\n`);
      }
      write(
        `In another terminal: ./dovecote chat --state ${flags.state}   (Ctrl-C here ends everything; the conversations stay in ${flags.state})\n`,
      );
    }
    const reason = await firstAbort(ended, local.died);
    await local.close();
    if (ended.aborted) return;
    process.stderr.write(`a part of it died: ${toError(reason).message}\n`);
    process.exitCode = 1;
  });

interface ServerFlags {
  state: string;
  server?: string;
  token?: string;
}

/** The server that the flags, the environment or a running local mode name. */
function serverOf(flags: ServerFlags): { url: string; token: string } | undefined {
  const url = flags.server ?? process.env['DOVECOTE_SERVER'];
  if (url !== undefined) return { url, token: flags.token ?? process.env['DOVECOTE_TOKEN'] ?? '' };
  return runningLocal(flags.state);
}

function serverOptions(command: Command): Command {
  return command
    .option('--server <url>', 'the gateway, such as http://127.0.0.1:8480 ($DOVECOTE_SERVER); a running local mode when absent')
    .option('--token <token>', 'a token of it ($DOVECOTE_TOKEN)');
}

serverOptions(localOptions(program.command('chat').description('talk to an agent in this terminal; starts local mode when no server runs')))
  .option('--message <text>', 'send this, print one answer, exit')
  .option('--channel <name>', 'a Channel of type local', 'web')
  .option('--chat <id>', 'which conversation', 'terminal')
  .addOption(
    new Option('--timeout <seconds>', 'with --message: how long to wait for the answer').argParser(seconds).default(120_000, '120'),
  )
  .addOption(new Option('--output <form>', 'what is printed').choices(['text', 'json']).default('text'))
  .addOption(logLevel('error', 'of a local mode that is started'))
  .action(async (flags: LocalFlags & ServerFlags & { message?: string; channel: string; chat: string; timeout: number }) => {
    const ended = endSignal();
    const known = serverOf(flags);
    const started = known === undefined ? await beginLocal({ fallbackProvider: 'demo', ...flags, port: 0 }) : undefined;
    try {
      const server = known ?? (started as NonNullable<typeof started>);
      const options: ChatOptions = {
        client: new ApiClient(server),
        channel: flags.channel,
        chat: flags.chat,
        newId: randomUUID,
        signal: ended,
        output: flags.output,
        write,
        ...(process.stdout.isTTY && { terminal: process.stdout }),
      };
      if (flags.message !== undefined) {
        for (const { text, message } of await ask(options, flags.message, flags.timeout))
          write(flags.output === 'json' ? `${JSON.stringify(message)}\n` : `${text}\n`);
      } else await converse(options, process.stdin);
    } finally {
      await started?.close();
    }
  });

interface LookFlags extends ServerFlags {
  output: Output;
  agent?: string;
}

function look(parent: Command, name: string, summary: string): Command {
  return serverOptions(parent.command(name).description(summary))
    .option('--state <folder>', 'of the local mode that runs', '.local')
    .addOption(new Option('--output <form>', 'what is printed').choices(['table', 'json']).default('table'));
}
function requiredServer(flags: ServerFlags): { url: string; token: string } {
  const server = serverOf(flags);
  if (server === undefined)
    throw new CommandError(`no server is known: start \`dovecote local\` (state folder ${flags.state}), or give --server and --token`);
  return server;
}
function client(flags: ServerFlags): ApiClient {
  return new ApiClient(requiredServer(flags));
}

look(program, 'sessions', 'every conversation and how it is')
  .option('--agent <name>', 'of this AgentGroup only')
  .action((flags: LookFlags) => listSessions(client(flags), { ...flags, now: Date.now(), write }));
look(program, 'why <id>', 'what became of an event (its id), a platform message (its id) or a row (<session>/<seq>)').action(
  (id: string, flags: LookFlags) => explain(client(flags), id, { ...flags, write }),
);
look(program, 'drops', 'events that reached nobody, and why').action((flags: LookFlags) =>
  listDrops(client(flags), { ...flags, now: Date.now(), write }),
);
look(program, 'usage', 'what agents used in the present period of their budget, or this month')
  .option('--agent <name>', 'of this AgentGroup only')
  .action((flags: LookFlags) => listUsage(client(flags), { ...flags, write }));
const deadLetters = program.command('dead-letters').description('messages that were given up');
look(deadLetters, 'list', 'each with the last error').action((flags: LookFlags) =>
  listDeadLetters(client(flags), { ...flags, now: Date.now(), write }),
);
look(deadLetters, 'retry <id>', 'try one again').action((id: string, flags: LookFlags) =>
  retryDeadLetter(client(flags), id, { ...flags, write }),
);

const files = program.command('files').description('files of a session, awake or asleep: nobody is woken');
look(files, 'ls <session> [path]', 'what is in a folder, /workspace when absent').action(
  (session: string, path: string | undefined, flags: LookFlags) =>
    listFiles(client(flags), session, path ?? '/workspace', { ...flags, now: Date.now(), write }),
);
look(files, 'get <session> <path>', 'a file, to the terminal or to --file')
  .option('--file <local>', 'where to put it')
  .action((session: string, path: string, flags: LookFlags & { file?: string }) =>
    getFile(client(flags), session, path, { output: flags.output, file: flags.file, stdout: process.stdout, write }),
  );
look(files, 'put <session> <path>', 'make or replace a file, from the standard input or from --file; missing folders are made')
  .option('--file <local>', 'what to put there')
  .action((session: string, path: string, flags: LookFlags & { file?: string }) =>
    putFile(client(flags), session, path, { output: flags.output, file: flags.file, stdin: process.stdin, write }),
  );

interface ExecFlags extends ServerFlags {
  tty?: boolean;
  cwd: string;
  env: Record<string, string>;
  timeout: number;
  detach?: boolean;
  job?: string;
  skip: number;
}

serverOptions(
  program.command('exec <session> [command...]').description('a command in the Pod of an awake session; ends with its exit code'),
)
  .option('--state <folder>', 'of the local mode that runs', '.local')
  .option('-t, --tty', 'with a terminal')
  .option('--cwd <folder>', 'where it runs', '/workspace')
  .addOption(new Option('--env <name=value...>', 'more variables').argParser(keyValue).default({}, 'none'))
  .addOption(new Option('--timeout <seconds>', 'after which it is ended').argParser(seconds).default(600_000, '600'))
  .option('--detach', 'it goes on when this ends; prints a job id on stderr')
  .option('--job <id>', 'attach to a job instead')
  .option('--skip <bytes>', 'with --job: output that was seen already', wholeNumber(0), 0)
  .action(async (session: string, command: string[], flags: ExecFlags) => {
    const start = {
      command,
      workingDirectory: flags.cwd,
      env: flags.env,
      timeoutMs: flags.timeout,
      tty: flags.tty === true,
      detach: flags.detach === true,
      jobId: flags.job ?? '',
      receivedBytes: flags.skip,
    };
    const { stdin, stdout, stderr } = process;
    const terminal = { stdin, stdout, stderr };
    process.exitCode = await execInSession({ server: requiredServer(flags), session, start, terminal, sleep, signal: endSignal() });
  });

interface McpFlags extends ServerFlags {
  env: Record<string, string>;
  idle: number;
}

serverOptions(
  program
    .command('mcp <session> [server] [command...]')
    .description("an MCP server in the Pod of an awake session, on this process's stdio: one of its agent's, or `-` and a command"),
)
  .option('--state <folder>', 'of the local mode that runs', '.local')
  .addOption(new Option('--env <name=value...>', 'more variables').argParser(keyValue).default({}, 'none'))
  .addOption(new Option('--idle <seconds>', 'without a message, after which it is ended').argParser(seconds).default(600_000, '600'))
  .action(async (session: string, server: string | undefined, command: string[], flags: McpFlags) => {
    const start = {
      server: server === '-' ? '' : (server ?? ''),
      command,
      env: flags.env,
      idleTimeoutMs: flags.idle,
    };
    const { stdin, stdout, stderr } = process;
    process.exitCode = await mcpInSession({ server: requiredServer(flags), session, start, stdin, stdout, stderr, sleep });
  });

try {
  await program.parseAsync();
} catch (e) {
  process.stderr.write(`${toError(e).message}\n`);
  if (!(e instanceof CommandError) && process.env['DOVECOTE_DEBUG'] !== undefined) process.stderr.write(`${toError(e).stack ?? ''}\n`);
  process.exitCode = 1;
}
