/** A toolbox over a cell's real files, for tests of tools. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentConfig } from '@dovecote/proto';
import { PathJail } from '@dovecote/proto';
import { Inbox } from '../inbox/inbox.ts';
import { Jobs } from '../jobs/jobs.ts';
import { systemClock } from '../lifecycle/clock.ts';
import { silentLog } from '../lifecycle/log.ts';
import { systemRandom } from '../lifecycle/random.ts';
import { Outbox } from '../outbox/outbox.ts';
import { OutboxFiles } from '../outbox/outbox-files.ts';
import { type BuiltInDeps, builtInTools } from '../tools/built-in.ts';
import { commandEnvironment, type ProxyAccess } from '../tools/command-env.ts';
import { knownMessage } from '../tools/known-message.ts';
import type { ToolContext } from '../tools/tool.ts';
import { type Toolbox, type ToolResult, toolboxes } from '../tools/toolbox.ts';
import { TestCell } from './cell.ts';

export interface ToolBenchOptions extends Partial<BuiltInDeps> {
  readonly agent?: Partial<AgentConfig>;
  readonly proxy?: ProxyAccess;
}

export class ToolBench {
  readonly cell: TestCell = new TestCell();
  readonly jobs: Jobs = new Jobs({ clock: systemClock, random: systemRandom });
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  readonly outboxFiles: OutboxFiles;
  readonly files: PathJail;
  readonly toolbox: Toolbox;
  readonly agent: AgentConfig;
  readonly #proxy: ProxyAccess | undefined;

  constructor({ agent, proxy, ...deps }: ToolBenchOptions = {}) {
    this.cell.addDestination('ops', 'c9');
    if (agent !== undefined) this.cell.setAgent(agent);
    this.inbox = Inbox.open(this.cell.inboundPath);
    this.outbox = Outbox.open(this.cell.outboundPath, { inbox: this.inbox, clock: systemClock, onRows: () => {} });
    this.outboxFiles = new OutboxFiles(this.cell.out);
    this.files = new PathJail([
      { alias: '/workspace', dir: this.cell.workspace, writable: true },
      { alias: '/agent', dir: this.cell.home, writable: true },
      { alias: '/attachments', dir: join(this.cell.in, 'attachments'), writable: false },
    ]);
    const projection = this.inbox.projection();
    if (projection === undefined) throw new Error('the cell has no agent');
    this.agent = projection.agent;
    this.#proxy = proxy;
    const tools = builtInTools({ jobs: this.jobs, random: systemRandom, proxy, ...deps });
    this.toolbox = toolboxes(() => tools, silentLog)(this.agent);
  }

  /** One call, as a turn would make it. */
  async use(name: string, input: unknown, context: Partial<ToolContext> = {}): Promise<ToolResult> {
    return this.toolbox.run(name, input, {
      signal: new AbortController().signal,
      clock: systemClock,
      files: this.files,
      outboxFiles: this.outboxFiles,
      destinations: this.inbox.projection()?.destinations ?? [],
      replyTo: 2,
      rowId: 't/1/t0',
      send: (row) => this.outbox.commit({ out: [row] }).seqs[0] ?? 0,
      written: (id) => this.outbox.written(id),
      message: (seq) => knownMessage(seq, this),
      waitForAnswer: async () => undefined,
      progressed: () => {},
      commandEnv: () => commandEnvironment({ PATH: process.env['PATH'] ?? '', HOME: this.cell.workspace }, this.#proxy, this.agent),
      ...context,
    });
  }

  put(name: string, content: string | Buffer): void {
    writeFileSync(join(this.cell.workspace, name), content);
  }

  async close(): Promise<void> {
    await this.jobs.close();
    this.outbox.close();
    this.inbox.close();
    this.cell.remove();
  }
}
