/** The composition root: builds everything once, runs the session, and says how the process ends. */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AgentConfig,
  ATTACHMENTS,
  HEARTBEAT,
  INBOUND_DB,
  INBOUND_MIGRATIONS,
  isDiskFull,
  latest,
  OUTBOUND_DB,
  PathJail,
  SchemaSkewError,
} from '@dovecote/proto';
import { AgentData } from '../agent-data/agent-data.ts';
import { AttachClient } from '../attach/attach-client.ts';
import { Partials } from '../attach/partials.ts';
import type { ReportProgress } from '../attach/progress.ts';
import { startContainerService } from '../container-service/container-service.ts';
import { Inbox, type Projection, unlessPassing } from '../inbox/inbox.ts';
import { recordJobs } from '../jobs/job-record.ts';
import { Jobs } from '../jobs/jobs.ts';
import { followSettings } from '../mcp/follow-settings.ts';
import { McpServers } from '../mcp/mcp-servers.ts';
import { Outbox } from '../outbox/outbox.ts';
import { OutboxFiles } from '../outbox/outbox-files.ts';
import { HomeFiles } from '../prompts/home-files.ts';
import { providerRegistry } from '../providers/registry.ts';
import { Skills } from '../skills/skills.ts';
import { builtInTools } from '../tools/built-in.ts';
import { commandEnvironment } from '../tools/command-env.ts';
import { toolboxes } from '../tools/toolbox.ts';
import { useSkill } from '../tools/use-skill.ts';
import { Drain } from '../turn/drain.ts';
import { Session } from '../turn/session.ts';
import { TranscriptStore } from '../turn/transcript-store.ts';
import { Bell } from './bell.ts';
import { type Clock, systemClock } from './clock.ts';
import { EXIT, toError } from './exit.ts';
import { startHeartbeat } from './heartbeat.ts';
import { startLeftoverSweep } from './leftovers.ts';
import { createLog, type Log } from './log.ts';
import type { Options } from './options.ts';
import { systemRandom } from './random.ts';

export const RUNNER_VERSION = '0.1.0';
/** How long the good-bye to delivery may take, ms. */
const GOODBYE_MS = 1_000;
const FILE_WAIT_MS = 100;
/** How long the first turn waits for the agent's MCP servers, ms. */
const MCP_WAIT_MS = 5_000;

export interface Signals {
  /** aborts at SIGTERM or SIGINT */
  readonly terminate: AbortSignal;
}

/** Runs the session to its end and answers with the exit code. Never rejects. */
export async function start(options: Options, { terminate }: Signals, path: string): Promise<number> {
  const clock = systemClock;
  const log = createLog({ session: options.session, level: options.logLevel });
  const closing: (() => Promise<void> | void)[] = [];
  try {
    return await run(options, terminate, path, { clock, log, closing });
  } catch (e) {
    return exitCode(toError(e), log);
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

interface Base {
  readonly clock: Clock;
  readonly log: Log;
  readonly closing: (() => Promise<void> | void)[];
}

async function run(options: Options, terminate: AbortSignal, path: string, { clock, log, closing }: Base): Promise<number> {
  const random = systemRandom;
  for (const folder of [options.out, options.workspace, options.home]) mkdirSync(folder, { recursive: true });
  closing.push(startHeartbeat(join(options.out, HEARTBEAT), clock, log));
  const bell = new Bell(clock);
  const drain = new Drain(clock);
  closing.push(() => drain.close());
  const onTerminate = (): void => drain.begin('Terminated', clock.now() + options.graceMs);
  if (terminate.aborted) onTerminate();
  terminate.addEventListener('abort', onTerminate, { once: true });

  const files = new PathJail([
    { alias: '/workspace', dir: options.workspace, writable: true },
    { alias: '/agent', dir: options.home, writable: true },
  ]);
  const commandEnv = { PATH: path, HOME: options.workspace, WORKSPACE: options.workspace, AGENT_HOME: options.home, LANG: 'C.UTF-8' };
  closing.push(startLeftoverSweep(files, clock, log));
  const callersJobs = new Jobs({ clock, random });
  closing.push(() => callersJobs.close());
  const proxy =
    options.proxy === undefined || options.proxyToken === undefined ? undefined : { url: options.proxy, tokenFile: options.proxyToken };
  const environment = (agent: Pick<AgentConfig, 'allowedHosts'>): Readonly<Record<string, string>> =>
    commandEnvironment(commandEnv, proxy, agent);
  /** The service answers before the agent is known. */
  let agentNow: () => AgentConfig | undefined = () => undefined;
  const service = await startContainerService({
    listen: options.listen,
    files,
    env: () => environment(agentNow() ?? {}),
    jobs: callersJobs,
    mcpServer: (name) => agentNow()?.mcpServers?.find((server) => server.name === name),
    clock,
    random,
    log,
  });
  closing.push(() => service.close());

  const inbox = await openInbox(join(options.in, INBOUND_DB), clock, log, drain.soft);
  if (inbox === undefined) return EXIT.drained; // told to end before the cell was there
  closing.push(() => inbox.close());
  let client: AttachClient | undefined;
  const outbox = Outbox.open(join(options.out, OUTBOUND_DB), {
    inbox,
    clock,
    onRows: (seq) => client?.ring(seq),
    retryMs: options.retryMs,
  });
  closing.push(() => outbox.close());
  const jobs = new Jobs({
    clock,
    random,
    onChange: (running) => {
      recordJobs(running, outbox, log);
      client?.jobs(Math.max(0, ...running.map(({ deadline = 0 }) => deadline)));
    },
  });
  closing.push(() => jobs.close());

  let agentData: AgentData | undefined;
  const stopAttach = new AbortController();
  if (options.attach !== undefined && options.token !== undefined) {
    client = new AttachClient({
      address: options.attach,
      tokenFile: options.token,
      hello: {
        session: options.session,
        runnerVersion: RUNNER_VERSION,
        inboundSchema: latest(INBOUND_MIGRATIONS),
        outboundSchema: Outbox.schema,
        containerServiceAddress: service.address,
        containerServiceCertificate: service.certificate,
        instance: random.id(16),
      },
      clock,
      log,
      onDoorbell: () => bell.ring(),
      onCallerSecret: (secret) => service.gate.expect(secret),
      onDrain: (reason, deadline) => drain.begin(reason, deadline > 0 ? deadline : clock.now() + options.graceMs),
    });
    const attached = client.run(stopAttach.signal);
    closing.push(async () => {
      stopAttach.abort();
      await attached;
    });
    const data = new AgentData({ address: options.attach, tokenFile: options.token, clock });
    closing.push(() => data.close());
    agentData = data;
  }

  const projection = await firstProjection(inbox, clock, log, drain.soft);
  if (projection === undefined) return EXIT.drained;
  let known = projection;
  const current = (): Projection => {
    known = unlessPassing(() => inbox.projection()) ?? known;
    return known;
  };
  agentNow = () => current().agent;
  const reach = { workspace: options.workspace, env: () => environment(current().agent), proxy, version: RUNNER_VERSION };
  const mcp = new McpServers({ reach, clock, random, log });
  closing.push(() => mcp.close());
  closing.push(followSettings({ servers: mcp, agent: () => current().agent, bell }));
  const meta = inbox.meta();
  const report: ReportProgress = (progress) => client?.report(progress);
  const partials = new Partials(clock, (partial) => client?.partial(partial));
  closing.push(() => partials.close());
  // What the agent was given counts before what it keeps itself.
  const skills = new Skills(
    options.skills,
    [
      { alias: join(options.home, 'skills'), dir: join(options.home, 'skills') },
      { alias: join(options.workspace, 'skills'), dir: join(options.workspace, 'skills') },
    ],
    log,
  );
  const tools = builtInTools({ jobs, random, agentData, proxy });
  const withSkills = [...tools, useSkill(skills)];
  const withAttachments = new PathJail([...files.roots, { alias: '/attachments', dir: join(options.in, ATTACHMENTS), writable: false }]);
  const session = new Session(
    {
      inbox,
      outbox,
      outboxFiles: new OutboxFiles(options.out),
      transcript: new TranscriptStore(outbox),
      files: withAttachments,
      toolbox: toolboxes(
        () => (skills.list.length > 0 ? withSkills : tools),
        log,
        () => mcp.tools,
      ),
      commandEnv: environment,
      provider: providerRegistry({ clock, proxy: options.proxy, proxyToken: options.proxyToken, files: withAttachments, log }),
      projection: current,
      promptBase: () => ({
        type: meta?.type ?? 'chat',
        shared: meta?.scope === '*',
        workspace: options.workspace,
        home: options.home,
        attachments: join(options.in, ATTACHMENTS),
        missing: mcp.missing,
      }),
      bell,
      report,
      partials,
      skills,
      homeFiles: new HomeFiles(files, '/agent', log),
      retryMs: options.retryMs,
      clock,
      random,
      log,
      reached: options.reached,
    },
    drain,
  );
  log.info({ provider: known.agent.provider, address: service.address }, 'the runner has started');
  await mcp.settled(MCP_WAIT_MS, drain.soft);
  try {
    await session.run();
  } catch (e) {
    if (isDiskFull(e)) await client?.drained({ reason: 'DiskFull', checkpointed: true }, GOODBYE_MS);
    throw e;
  }
  report({ phase: 'draining', turn: '', activity: '', deadlineMs: 0 });
  options.reached('runner/before-drained');
  await client?.drained({ reason: drain.reason, checkpointed: session.checkpointed }, GOODBYE_MS);
  log.info({ reason: drain.reason, checkpointed: session.checkpointed }, 'the runner has drained');
  return EXIT.drained;
}

/** The cell may be made a moment after the Pod. Throws SchemaSkewError. */
async function openInbox(path: string, clock: Clock, log: Log, drain: AbortSignal): Promise<Inbox | undefined> {
  for (let tries = 0; !drain.aborted; tries += 1) {
    try {
      // Between its creation and its first commit the file is empty.
      const made = (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
      const inbox = made ? unlessPassing(() => Inbox.open(path)) : undefined;
      if (inbox !== undefined) return inbox;
    } catch (e) {
      if ((e as { code?: unknown }).code !== 'SQLITE_CANTOPEN') throw e;
    }
    if (tries === 50) log.warn({ path }, 'inbound.db is not there yet');
    await clock.sleep(FILE_WAIT_MS, drain).catch(() => {});
  }
  return undefined;
}

async function firstProjection(inbox: Inbox, clock: Clock, log: Log, drain: AbortSignal): Promise<Projection | undefined> {
  for (let tries = 0; !drain.aborted; tries += 1) {
    const projection = unlessPassing(() => inbox.projection());
    if (projection !== undefined) return projection;
    if (tries === 50) log.warn('the agent is not in inbound.db yet');
    await clock.sleep(FILE_WAIT_MS, drain).catch(() => {});
  }
  return undefined;
}

function exitCode(error: Error, log: Log): number {
  if (isDiskFull(error)) {
    log.fatal({ err: error }, 'the volume is full: nothing was lost, the work goes on when there is room');
    return EXIT.diskFull;
  }
  if (error instanceof SchemaSkewError) {
    log.fatal({ err: error }, 'the files of this session are of a version that this runner must not touch');
    return EXIT.configuration;
  }
  log.fatal({ err: error }, 'the runner ends because of an error');
  return EXIT.crash;
}
