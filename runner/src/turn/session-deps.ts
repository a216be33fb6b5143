import type { AgentConfig, PathJail } from '@dovecote/proto';
import type { Partials } from '../attach/partials.ts';
import type { ReportProgress } from '../attach/progress.ts';
import type { Inbox, Projection } from '../inbox/inbox.ts';
import type { Bell } from '../lifecycle/bell.ts';
import type { Clock } from '../lifecycle/clock.ts';
import type { Reached } from '../lifecycle/crash-point.ts';
import type { Log } from '../lifecycle/log.ts';
import type { Random } from '../lifecycle/random.ts';
import type { Outbox } from '../outbox/outbox.ts';
import type { OutboxFiles } from '../outbox/outbox-files.ts';
import type { HomeFiles } from '../prompts/home-files.ts';
import type { PromptInput } from '../prompts/system-prompt.ts';
import type { Provider } from '../providers/provider.ts';
import type { Skills } from '../skills/skills.ts';
import type { Toolbox } from '../tools/toolbox.ts';
import type { TitleMaker } from './title.ts';
import type { TranscriptStore } from './transcript-store.ts';

/** Everything a session needs, built once by the composition root. */
export interface SessionDeps {
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  readonly outboxFiles: OutboxFiles;
  readonly transcript: TranscriptStore;
  readonly files: PathJail;
  readonly toolbox: (agent: AgentConfig) => Toolbox;
  /** environment of a command that the agent's model starts now */
  readonly commandEnv: (agent: AgentConfig) => Readonly<Record<string, string>>;
  /** Throws a permanent ProviderError for a name that is not known or not set up. */
  readonly provider: (name: string) => Promise<Provider>;
  /** the agent, destinations and routing as delivery last wrote them; the last known ones while the file is being written */
  readonly projection: () => Projection;
  readonly promptBase: () => Pick<PromptInput, 'type' | 'shared' | 'workspace' | 'home' | 'attachments' | 'missing'>;
  readonly skills: Pick<Skills, 'refresh' | 'list'>;
  readonly homeFiles: Pick<HomeFiles, 'read'>;
  readonly bell: Bell;
  readonly report: ReportProgress;
  readonly partials: Pick<Partials, 'show' | 'end'>;
  /** the wait after a step ended its second process, ms; each further one doubles it */
  readonly retryMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly reached: Reached;
}

/** What its turns get beside that. */
export interface TurnDeps extends SessionDeps {
  readonly titles: Pick<TitleMaker, 'afterStep'>;
  /** sentences about messages that changed right after a turn had read them, for the next one that reads */
  readonly unseenChanges: string[];
}
