/**
 * Every behaviour that Dovecote promises, by a stable id. A test names the id it verifies (see `verifies.ts`); the run fails when an id
 * that is claimed here was verified by no test that ran and passed.
 */

/** Where a claim is verified: `local` by `make test`, `cluster` by `make e2e`, `both`. Absent: not claimed yet. */
export type Claim = 'local' | 'cluster' | 'both';

export interface Requirement {
  readonly id: string;
  readonly behaviour: string;
  /** where the wish comes from: S seeds, N and M the systems before us, F the field */
  readonly from: string;
  /** true: only a real cluster can show it */
  readonly cluster?: true;
  readonly claimed?: Claim;
}

export const requirements: readonly Requirement[] = [
  {
    id: 'cell/two-files-one-writer',
    behaviour: "inbound.db is written by the host alone, outbound.db by the runner alone; neither side can open the other's for writing",
    from: 'S1',
  },
  {
    id: 'cell/seq-parity',
    behaviour: 'host seq even, runner seq odd, by CHECK, allocated in the inserting transaction; ids never collide over both files',
    from: 'S1',
  },
  { id: 'cell/ack-after-commit', behaviour: 'the platform is answered only after the row is durable', from: 'F' },
  { id: 'cell/event-stored-once', behaviour: 'a redelivered event (same event id) is stored once and answered as success', from: 'F' },
  {
    id: 'cell/heartbeat-file',
    behaviour: 'the runner touches `heartbeat` by a timer of its own, not by events, and never by a database write',
    from: 'S1',
  },
  {
    id: 'cell/stale-claims-cleared',
    behaviour: 'acks left `processing` by a dead runner are cleared at its start and the rows are read again',
    from: 'S1',
  },
  {
    id: 'cell/hot-journal',
    behaviour: 'a runner killed in mid-transaction leaves a cell that the host can still read and the next runner can write',
    from: 'N',
  },
  {
    id: 'cell/reader-races',
    behaviour: 'SQLITE_BUSY and READONLY_ROLLBACK in a read are retried quietly and never fail a sweep',
    from: 'N',
  },
  {
    id: 'cell/schema-skew',
    behaviour: 'runner N works with host N-1 and N+1 files; migration is numbered and tested both ways',
    from: 'N',
  },
  {
    id: 'cell/hostile-outbound',
    behaviour: 'a crafted outbound.db (other schema, views, triggers, huge rows, symlink, growing for ever) harms only its own session',
    from: 'F',
  },
  {
    id: 'cell/attachments-safe',
    behaviour: 'names are made safe both ways: no traversal, no links followed, size limits with a clear sentence',
    from: 'S3 N',
  },
  { id: 'cell/streamed-attachments', behaviour: 'a 100 MiB message does not pass through memory whole', from: 'F' },
  {
    id: 'cell/quota',
    behaviour:
      'per-session and per-agent storage quota, measured by delivery; the one that fills the volume is drained and told, the others go on',
    from: 'F',
  },
  {
    id: 'cell/disk-full',
    behaviour: 'a full volume: events are refused (platform retries), nothing is corrupt, a condition says so, work resumes by itself',
    from: 'F',
  },
  {
    id: 'route/wiring-many-to-many',
    behaviour: 'one chat wired to several agents and one agent to several chats; priority orders',
    from: 'S1',
  },
  {
    id: 'route/chat-match',
    behaviour: 'a MessagingGroup names one chat or a class of chats (direct, group); the most specific wins',
    from: 'F',
  },
  {
    id: 'route/engage-modes',
    behaviour: 'always, mention, mentionSticky, pattern; an invalid pattern is refused when written, never fails open',
    from: 'S1 N',
  },
  {
    id: 'route/session-modes',
    behaviour: 'shared, perThread, agentShared (one conversation over GitHub and Slack); threads collapse in DMs',
    from: 'S1',
  },
  { id: 'route/agent-shared-strict', behaviour: "agentShared finds only the agentShared session, never another chat's", from: 'N' },
  {
    id: 'route/accumulate',
    behaviour:
      'unengaged messages of known senders are kept as silent context (`trigger=0`), wake nobody, and do not make mentionSticky sticky',
    from: 'S2 N',
  },
  { id: 'route/passive-order', behaviour: 'silent context reaches the model in order with the next real message', from: 'S2' },
  {
    id: 'route/auto-register',
    behaviour: 'a mention or DM in an unwired chat creates a registration approval; approving wires it and replays the message',
    from: 'S1',
  },
  {
    id: 'route/drop-recorded',
    behaviour: 'every dropped message has a reason, counted per sender, listed by `dovecote why`',
    from: 'S1 F',
  },
  {
    id: 'route/new-session',
    behaviour: '`/new` starts a fresh session for the scope, makes it active, confirms; the old one stays readable',
    from: 'S2',
  },
  { id: 'route/session-lookup-by-agent', behaviour: 'two agents in one chat and thread never share a session', from: 'S3' },
  { id: 'route/reply-context', behaviour: 'quoted and replied-to messages reach the model', from: 'N' },
  {
    id: 'route/edited-and-deleted',
    behaviour: 'an edited or deleted platform message updates what the agent will read, if not yet read, else is told',
    from: 'F',
  },
  {
    id: 'turn/provider-anthropic',
    behaviour: 'streaming Messages API with tool loop, prompt caching, effort, base URL of the proxy',
    from: 'S4',
  },
  {
    id: 'turn/provider-demo',
    behaviour: 'offline deterministic provider that can drive every tool from a script in the message',
    from: 'F',
  },
  { id: 'turn/fifo', behaviour: 'rows in seq order, filter before LIMIT, control lane apart; a burst of 200 keeps its order', from: 'N' },
  {
    id: 'turn/mid-turn-messages',
    behaviour: 'messages that arrive during a turn join it between steps; acked only when the step that used them commits',
    from: 'N',
  },
  {
    id: 'turn/step-commit',
    behaviour: 'acks, outbound rows and history of a step are one transaction; kill -9 anywhere re-runs no finished step and loses nothing',
    from: 'F',
  },
  {
    id: 'turn/resume-transcript',
    behaviour: 'a new Pod goes on with the conversation, tool results included; dangling tool calls are repaired',
    from: 'N M',
  },
  {
    id: 'turn/transient-errors',
    behaviour: '429, 529, network: retried with backoff and a status to the user; never a raw error text, never a consumed message',
    from: 'N',
  },
  {
    id: 'turn/poison-message',
    behaviour: 'a message that kills the runner N times is set aside with a notice; later ones go on',
    from: 'N',
  },
  {
    id: 'turn/hang-detected',
    behaviour: 'a hung turn is cancelled within 2 minutes; a 10-minute model call and a declared long tool are not',
    from: 'N',
  },
  {
    id: 'turn/compaction',
    behaviour: 'the transcript is compacted before the context limit, with `/compact` on demand; the user sees one quiet note',
    from: 'S4',
  },
  {
    id: 'turn/prompts-by-type',
    behaviour: 'system prompt composed per session type from shared fragments; a missing file is told apart from a read error',
    from: 'S2',
  },
  {
    id: 'turn/skills',
    behaviour: 'name and description listed sorted; `use_skill` returns the whole body; no section and no tool when there are none',
    from: 'S2',
  },
  {
    id: 'turn/usage-per-message',
    behaviour: 'each assistant message carries its own usage incl. cache details; totals add up exactly',
    from: 'S2',
  },
  {
    id: 'turn/title',
    behaviour: "title by the model, asynchronously at the user's first message, with a first-line fallback at once",
    from: 'S2',
  },
  {
    id: 'turn/destinations-in-prompt',
    behaviour: 'named destinations are listed and messages show `from="name"`; platform ids never reach the model',
    from: 'S3',
  },
  {
    id: 'turn/message-blocks',
    behaviour:
      '`<message to="…">` is routed, `<internal>` kept back, plain text answers the origin; unknown names are told to the model once',
    from: 'S3',
  },
  { id: 'turn/stop', behaviour: '`/stop` cancels the running turn cleanly and says so', from: 'N' },
  {
    id: 'turn/streaming-out',
    behaviour: 'partial answers reach platforms that can edit, throttled per platform; one final message, never two',
    from: 'M',
  },
  { id: 'turn/typing', behaviour: 'typing indicator while a turn runs, paused after a delivery', from: 'N' },
  {
    id: 'turn/limits',
    behaviour: 'loop guards: same text 3 times, same call 5 times, max steps; ends with a sentence, not silence',
    from: 'M',
  },
  {
    id: 'turn/drain',
    behaviour: 'SIGTERM: finish or checkpoint within the grace, nothing lost, exit code tells disk-full from crash',
    from: 'F',
  },
  { id: 'tool/send-message', behaviour: 'to a destination, delivered at once, not at turn end', from: 'S3' },
  { id: 'tool/send-file', behaviour: 'from /workspace or /agent, any size up to the limit', from: 'S1' },
  { id: 'tool/edit-message', behaviour: 'on own and on inbound messages, by the seq the model sees', from: 'S1 N' },
  { id: 'tool/add-reaction', behaviour: 'on own and on inbound messages, by the seq the model sees', from: 'S1 N' },
  {
    id: 'tool/ask-user-question',
    behaviour: 'buttons where the platform has them (index-encoded), else numbered text; answer resumes the turn, late answers too',
    from: 'S1 N',
  },
  { id: 'tool/send-card', behaviour: 'card with fallback text', from: 'N' },
  { id: 'tool/list-sessions', behaviour: 'type, platform, limit', from: 'S2' },
  {
    id: 'tool/search-messages',
    behaviour: "time range, keyword, session, contact, role; 7 days back by default; across the agent's sessions",
    from: 'S2',
  },
  { id: 'tool/read-numbered', behaviour: 'read output has line numbers added in the tool layer; paging; binary refused', from: 'S2' },
  {
    id: 'tool/files-and-shell',
    behaviour: 'read, write, edit, list, glob, grep, exec with timeout and background jobs, confined to /workspace and /agent',
    from: 'S0',
  },
  { id: 'tool/schedule', behaviour: 'schedule_task, list, update, cancel, pause, resume as actions the host applies', from: 'S1' },
  { id: 'tool/use-skill', behaviour: 'see turn/skills', from: 'S2' },
  {
    id: 'tool/install-packages',
    behaviour: "apt and npm names validated, approval, installed off the host's loop into a cached read-only layer, on_wake note",
    from: 'S3',
  },
  { id: 'tool/add-mcp-server', behaviour: 'approval shows command, args, env names; applied without losing the conversation', from: 'S3' },
  {
    id: 'tool/create-agent',
    behaviour: 'only for agents allowed to; makes AgentGroup and two-way destinations; approval otherwise',
    from: 'S3',
  },
  {
    id: 'tool/mcp-stdio-http',
    behaviour: 'MCP servers over stdio and streamable HTTP, supervised, restarted with backoff, tool list refreshed',
    from: 'S0',
  },
  { id: 'tool/web-fetch', behaviour: "through the proxy's allow-list", from: 'N' },
  {
    id: 'tool/memory',
    behaviour: "files under /agent/memory shared by the agent's sessions with atomic, conflict-checked writes",
    from: 'N',
  },
  { id: 'out/two-tier', behaviour: '1 s poll for awake, 60 s sweep for all, doorbells before both', from: 'S1' },
  {
    id: 'out/ledger',
    behaviour: 'state, attempts, next attempt, last error and idempotency key are rows; a restart resets nothing',
    from: 'N',
  },
  { id: 'out/order', behaviour: 'per chat and thread in order; a failing chat delays only itself', from: 'N' },
  {
    id: 'out/retry-after',
    behaviour: '429 and Retry-After obeyed; backoff with jitter; missing adapter is a retry, not a success',
    from: 'N',
  },
  { id: 'out/dead-letter', behaviour: 'after the limit: dead, user and agent told, listed, retried by CLI and console', from: 'F' },
  {
    id: 'out/in-doubt',
    behaviour: 'killed between send and record: settled by idempotency key, by reading back, or by the stated policy',
    from: 'F',
  },
  { id: 'out/files-after-record', behaviour: 'outbox files are removed only after `delivered` commits', from: 'N' },
  { id: 'out/chunking', behaviour: "long text split at sensible borders within the platform's limit, code fences kept", from: 'N' },
  { id: 'out/markdown', behaviour: "one Markdown dialect in, each platform's own out", from: 'M' },
  { id: 'out/permission-checked', behaviour: 'each delivery is checked against Destinations, or is the origin chat', from: 'S3' },
  { id: 'out/final-drain', behaviour: 'rows written just before the Pod ended go out at once, not at the next sweep', from: 'N' },
  { id: 'out/rate-limits', behaviour: 'per-platform token buckets', from: 'M' },
  {
    id: 'gov/users-roles',
    behaviour: 'owner and admin, global or scoped; members; admin of A is a member of A; first pairing makes the owner once',
    from: 'S1',
  },
  {
    id: 'gov/identity-link',
    behaviour: 'one person on several channels through `/link CODE` (one use, 10 min, no look-alikes) and pre-auth keys',
    from: 'S0',
  },
  { id: 'gov/unknown-sender', behaviour: 'strict, requestApproval (message replayed on approval), public, per MessagingGroup', from: 'S1' },
  { id: 'gov/sender-scope', behaviour: 'all or known per wiring', from: 'N' },
  {
    id: 'gov/commands',
    behaviour:
      '`/new /clear /compact /context /cost /files /stop /help /link /sessions /status`: admin-only ones refused with an answer; unknown `/x` passes through',
    from: 'S4',
  },
  { id: 'gov/dm', behaviour: 'a person can be reached by DM without having written first, where the platform allows (cached)', from: 'S1' },
  {
    id: 'gov/approval-object',
    behaviour:
      'an Approval shows action, exact payload, hash, requester, expiry; decided in chat, console or kubectl; cannot change afterwards',
    from: 'F',
  },
  {
    id: 'gov/approval-any-of',
    behaviour: "any of the eligible approvers; only they; the clicker is checked; the others' cards are updated",
    from: 'N',
  },
  { id: 'gov/approval-expiry', behaviour: 'reminder at half, expiry is told apart from refusal, the agent is told either way', from: 'N' },
  { id: 'gov/approval-durable', behaviour: "survives a kill of every process and the Pod's sleep", from: 'F' },
  { id: 'gov/audit', behaviour: 'who asked, who decided, what was done: queryable', from: 'F' },
  {
    id: 'gov/a2a',
    behaviour: 'agents message agents through destinations, with files; replies find the asking session; 8 hops at most',
    from: 'S1 N',
  },
  { id: 'gov/budget', behaviour: 'tokens and cost per agent and period; warning at 80 %, stop at 100 %, said in the chat', from: 'F' },
  { id: 'sched/tasks', behaviour: 'once, cron with time zone, pause, resume, cancel, update recomputes', from: 'S1' },
  {
    id: 'sched/next-atomic',
    behaviour: 'next run and end of this one in one transaction; a failed run does not end the series',
    from: 'N',
  },
  { id: 'sched/catch-up', behaviour: 'skip, once or all after downtime; overlap policy; missed runs are recorded', from: 'N' },
  {
    id: 'sched/history',
    behaviour: 'every run: start, end, status, session, usage; kept, pruned by rule; listed by agent and by schedule',
    from: 'S2',
  },
  {
    id: 'sched/own-session',
    behaviour: 'Schedule and heartbeat runs get sessions of their own type, replayable in the console',
    from: 'S2',
  },
  {
    id: 'sched/heartbeat',
    behaviour: 'checklist, last heartbeat time in the prompt, quiet when nothing to say, quiet hours, token budget',
    from: 'S2',
  },
  { id: 'sched/script-gate', behaviour: 'a script decides whether to wake; failures back off and pause with a notice', from: 'N' },
  {
    id: 'sched/wakes-sleeping',
    behaviour: 'a due task wakes a sleeping session within 2 s of its time, after a delivery restart too',
    from: 'S1',
  },
  {
    id: 'chan/contract',
    behaviour:
      'one contract suite run on every channel: receive, dedupe, bad signature, reply, thread, edit, react, file, chunk, typing, 429, 5xx, stop twice, nothing after stop',
    from: 'S0',
  },
  { id: 'chan/local', behaviour: 'web chat and CLI', from: 'S0' },
  { id: 'chan/slack', behaviour: 'events over HTTP and Socket Mode, threads, buttons, files, reactions, edits', from: 'S4' },
  { id: 'chan/telegram', behaviour: 'webhook and long poll, groups, buttons, files, edits', from: 'S0' },
  { id: 'chan/discord', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/github', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/linear', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/googlechat', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/teams', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/webex', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/matrix', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/resend', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/whatsapp-cloud', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/whatsapp', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/imessage', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  { id: 'chan/feishu', behaviour: 'each with what its platform offers', from: 'S0 S4' },
  {
    id: 'chan/hot-swap',
    behaviour:
      'a Channel added, changed or removed at run time; connect before switch; bad new credentials leave the old running and say so',
    from: 'S0',
  },
  { id: 'chan/supervised', behaviour: 'a connection that dies is re-made with backoff; `Connected` condition is true to life', from: 'M' },
  {
    id: 'chan/one-owner',
    behaviour: 'a socket or polling Channel has exactly one owner over N gateways; hand-over loses nothing',
    from: 'F',
  },
  { id: 'chan/directory', behaviour: 'display names, group names, avatars resolved (5 s limit, cached)', from: 'S0 S2' },
  {
    id: 'chan/info',
    behaviour: 'each type states terminology, how to find ids, threads, default isolation: shown by CLI and docs',
    from: 'S1',
  },
  { id: 'chan/verify', behaviour: '`dovecote verify`: credentials and wiring checked for every Channel, with the fix', from: 'S1' },
  {
    id: 'kube/crds-apply',
    behaviour: '`kubectl apply -f crds/` on a real API server; structural, CEL with clear messages, columns, short names, category',
    from: 'mission',
    cluster: true,
  },
  {
    id: 'kube/session-pod',
    behaviour: 'a Session awake gets its Pod, co-located with its shard, restricted security, only its own subPaths',
    from: 'mission',
    cluster: true,
  },
  { id: 'kube/sleep-wake', behaviour: 'idle → Pod gone, data kept; a message → Pod back, conversation goes on', from: 'F', cluster: true },
  { id: 'kube/adopt', behaviour: 'operator killed in mid-turn: Pods are adopted, the turn ends, one reply', from: 'N', cluster: true },
  { id: 'kube/pod-killed', behaviour: 'Pod killed, evicted, OOM: resumed, user told when it matters', from: 'F', cluster: true },
  { id: 'kube/node-gone', behaviour: 'no second Pod while the first may live', from: 'N', cluster: true },
  {
    id: 'kube/shard-moves',
    behaviour: 'a delivery Pod restarts beside its session Pods; after a node drain the volume moves and every session goes on',
    from: 'F',
    cluster: true,
  },
  {
    id: 'kube/shards',
    behaviour: 'sessions of one agent spread over several shards by rendezvous hashing; adding a shard moves only what it must',
    from: 'F',
    cluster: true,
  },
  {
    id: 'kube/status',
    behaviour: 'conditions with reasons for every state, observedGeneration, kstatus-clean; asleep is healthy',
    from: 'F',
    cluster: true,
  },
  {
    id: 'kube/refs',
    behaviour: 'a missing reference is a condition that heals by itself; a referenced object cannot vanish silently',
    from: 'S3',
    cluster: true,
  },
  {
    id: 'kube/deletion',
    behaviour: 'deleting an AgentGroup, MessagingGroup or Session follows retention; finalizers never hang',
    from: 'S0',
    cluster: true,
  },
  {
    id: 'kube/gitops',
    behaviour: 'Helm values and manifests are enough to declare a whole installation; Argo CD health scripts for every kind; no drift',
    from: 'mission',
    cluster: true,
  },
  { id: 'kube/events', behaviour: 'transitions only, aggregated', from: 'F', cluster: true },
  { id: 'kube/leader', behaviour: 'one acting controller; the old one stops before the new one starts', from: 'F', cluster: true },
  {
    id: 'kube/rolling-update',
    behaviour: 'a new runner image reaches sessions at their next wake, or by drain; no conversation is killed',
    from: 'F',
    cluster: true,
  },
  { id: 'kube/warm', behaviour: 'warm Pods per agent; a claim costs no Pod start; pool refills behind it', from: 'F', cluster: true },
  {
    id: 'kube/sandboxed-runtime',
    behaviour:
      'with a runtime class that has its own kernel (gVisor, Kata) rows pass over Attach and the host reads outbound.db only when the Pod is gone; until that works such a class is detected and refused with a condition',
    from: 'F',
    cluster: true,
  },
  {
    id: 'kube/capacity',
    behaviour: 'full: queued fairly, told, idle ones put to sleep first, never a 90 s timeout',
    from: 'F',
    cluster: true,
  },
  { id: 'kube/admission', behaviour: 'only those allowed decide Approvals or set `awake`: policy in the chart', from: 'F', cluster: true },
  {
    id: 'pod/container-service',
    behaviour: 'gRPC on 9090: ReadFile, WriteFile, ListDir, ReadRaw, WriteRaw, Exec, Stat, Mkdir, Rename, DeleteFile',
    from: 'S0',
  },
  {
    id: 'pod/exec',
    behaviour: 'stdin, tty, resize, env, timeout, exit by signal, process group killed, re-attach by job id',
    from: 'S0 M',
  },
  { id: 'pod/path-jail', behaviour: 'every path confined, links not followed, modes kept, writes atomic and synced', from: 'M' },
  { id: 'pod/tls-per-session', behaviour: 'TLS with a key of its own per Pod, pinned; caller authenticated; health service', from: 'M' },
  {
    id: 'pod/pool',
    behaviour: 'client pool: single-flight dial, eviction after 30 s stuck in Connecting, new Pod IP replaces at once',
    from: 'S0',
  },
  { id: 'pod/asleep-files', behaviour: 'files of a sleeping session can be read and written without waking it', from: 'F' },
  {
    id: 'pod/mcp-stdio-session',
    behaviour:
      'a caller can open an MCP stdio session in the Pod: full JSON-RPC envelope, no double initialize, cancel, pending calls cleaned',
    from: 'S0',
  },
  {
    id: 'data/orphan-cell',
    behaviour: 'a cell without Session (cluster restored, object deleted by hand) is adopted before anything starts; never overwritten',
    from: 'S0',
  },
  {
    id: 'data/lost-cell',
    behaviour: 'a Session without cell is restored from its last snapshot or reported; never silently empty',
    from: 'S0',
  },
  { id: 'data/preserve-on-delete', behaviour: 'deletion keeps a verified archive unless asked not to', from: 'S0' },
  {
    id: 'data/export-import',
    behaviour: 'one file, faithful (modes, links, empty folders, times), manifest with checksums, bombs and traversal refused; online',
    from: 'S0',
  },
  { id: 'data/snapshot', behaviour: 'online, consistent, verified (integrity_check, sha256), free space checked first', from: 'S0' },
  { id: 'data/rollback', behaviour: 'atomic, with a snapshot before it, survives restarts; a failure leaves what was', from: 'S0' },
  { id: 'data/fork', behaviour: 'a new session from a snapshot', from: 'F' },
  { id: 'data/object-store', behaviour: 'snapshots to S3-compatible storage', from: 'F' },
  {
    id: 'data/no-silent-network',
    behaviour: 'every failing network step is an error with a place to see it; never "running but unreachable"',
    from: 'S0',
  },
  {
    id: 'ui/sidebar',
    behaviour: 'sessions with title, avatar, platform badge, `@name`, type icon (heart, clock), relative time; live',
    from: 'S2',
  },
  { id: 'ui/chat', behaviour: '`/chat/:session` both ways with the URL; streaming; attachments; new session', from: 'S2' },
  {
    id: 'ui/events-resume',
    behaviour: 'one stream per tab, event ids, resume without gap or duplicate; events of other sessions never leak',
    from: 'S2 M',
  },
  { id: 'ui/agents', behaviour: 'agents, channels, chats, users, destinations: read and edit as resources, YAML shown', from: 'S0' },
  { id: 'ui/approvals', behaviour: 'each a page a person can work with', from: 'S0 S2' },
  { id: 'ui/dead-letters', behaviour: 'each a page a person can work with', from: 'S0 S2' },
  { id: 'ui/schedules', behaviour: 'each a page a person can work with', from: 'S0 S2' },
  { id: 'ui/usage', behaviour: 'each a page a person can work with', from: 'S0 S2' },
  { id: 'ui/files', behaviour: 'each a page a person can work with', from: 'S0 S2' },
  { id: 'ui/snapshots', behaviour: 'each a page a person can work with', from: 'S0 S2' },
  { id: 'ui/auth', behaviour: 'Kubernetes tokens and RBAC decide; no default password', from: 'M' },
  { id: 'ui/languages', behaviour: 'English and Chinese', from: 'S2' },
  { id: 'ui/rest', behaviour: 'sessions CRUD, messages, schedule logs, usage; OpenAPI document', from: 'S2' },
  {
    id: 'ui/cli',
    behaviour: '`dovecote` and `kubectl dovecote`: chat, sessions, why, approve, dead letters, snapshots, files, verify; `--output json`',
    from: 'S1',
  },
  { id: 'sec/no-keys-in-pod', behaviour: 'env, files and proc of a session Pod hold no credential; the proxy injects', from: 'S1' },
  {
    id: 'sec/refuse-without-credentials',
    behaviour: 'no Pod for an agent whose provider credential is missing: a condition and a sentence instead',
    from: 'S1',
  },
  {
    id: 'sec/pod-hardening',
    behaviour: 'restricted Pod Security, read-only root, no service account token but the projected one, limits, runtimeClassName',
    from: 'F',
  },
  { id: 'sec/egress', behaviour: 'default deny, only DNS, delivery and proxy; hosts allow-listed', from: 'F' },
  { id: 'sec/least-rbac', behaviour: 'Roles per role, no wildcard, secrets by name', from: 'F' },
  { id: 'sec/webhook', behaviour: 'raw-body signatures, replay window, size and rate limits', from: 'S0' },
  { id: 'sec/fuzz', behaviour: 'webhook, envelope and cell readers fuzzed: no crash, no leak', from: 'F' },
  {
    id: 'ops/metrics',
    behaviour: 'one name per stage, controller-runtime names for the machinery; alerts with runbooks, a dashboard',
    from: 'F',
  },
  { id: 'ops/trace', behaviour: 'one trace from webhook to reply', from: 'F' },
  { id: 'ops/why', behaviour: '`dovecote why <event or message>` tells gate, rule, session, attempts', from: 'F' },
  { id: 'ops/health', behaviour: 'readiness true to life in every role', from: 'M' },
  { id: 'ops/graceful', behaviour: 'rolling restart of every role under load: nothing lost, nothing doubled', from: 'F' },
  {
    id: 'ops/chart',
    behaviour:
      'values.schema.json, NOTES, helm test, unit tests, PDBs, one value for registry mirrors (China) that covers every image and package source',
    from: 'S0',
  },
  { id: 'dev/two-commands', behaviour: '`make demo` runs the main job, `make test` passes, on a fresh machine', from: 'CEO' },
  { id: 'dev/hot-reload', behaviour: '`make dev`: change code, running agents restart on it, sessions kept', from: 'S0' },
  { id: 'dev/cluster', behaviour: '`make e2e` on kind, any KUBECONFIG, or the built cluster', from: 'mission' },
];
