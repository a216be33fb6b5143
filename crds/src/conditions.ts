// Every condition type and reason that the status of a resource of ours can hold. A condition that is absent has not been looked at yet:
// read it as Unknown. GitOps tools wait for Ready, so a state that is fine to stay in (asleep, suspended, queued) is Ready=True.

/** The types of conditions. All are True when all is well, except Active, which is neither good nor bad. */
export const ConditionType = {
  /**
   * On every kind. True: works as its spec says. False: does not, and `reason` says what a person has to do. Unknown: being worked on.
   * A sleeping Session is Ready; a waking one keeps its Ready. Absent: the controller has not seen the object yet.
   */
  Ready: 'Ready',
  /** On AgentGroup. True: as many shards as asked for are assigned. False: too few shards exist. Absent: not assigned yet. */
  ShardsAssigned: 'ShardsAssigned',
  /** On AgentGroup and Channel. True: the Secret and its keys exist. False: they do not. Absent: none is needed (demo, local). */
  CredentialsFound: 'CredentialsFound',
  /**
   * On AgentGroup. True: the Secrets that its MCP servers need exist. False: one does not; that server is refused until it does, the agent
   * answers all the same and stays Ready. Absent: none is needed.
   */
  McpCredentialsFound: 'McpCredentialsFound',
  /**
   * On AgentGroup. True: its budget has something left. False: it is used up, and its messages wait for the next period or a larger one; that is
   * no fault, so Ready stays. Absent: it has no budget, or was never near the end of one.
   */
  WithinBudget: 'WithinBudget',
  /** On Channel. True: the platform answers us, now. False: it does not; the gateway keeps trying. Absent: no gateway has tried yet. */
  Connected: 'Connected',
  /**
   * On MessagingGroup and Destination. True: every object it names exists. False: one does not; heals by itself. Absent: not looked up yet.
   * On AgentGroup: the same of the ConfigMaps of its skills, without which it answers all the same, so Ready stays; absent: it names none.
   */
  RefsResolved: 'RefsResolved',
  /** On Session. True: its Pod runs a runner. False: asleep, which is healthy. Unknown: waking or draining. Absent: never woken. */
  Active: 'Active',
  /** On Session. True: its cell can be written. False: it cannot, see reason. Absent: delivery has not opened the cell yet. */
  StorageOk: 'StorageOk',
} as const;
export type ConditionType = (typeof ConditionType)[keyof typeof ConditionType];

/** The reasons of conditions, each with the types it goes with. */
export const Reason = {
  /** Ready=True: nothing is wrong with it. */
  Accepted: 'Accepted',
  /** Ready=False: the spec cannot be used, or was stored under an older schema; the message names the field. Until the spec changes. */
  Invalid: 'Invalid',
  /** Ready=Unknown: seen, not finished. */
  Progressing: 'Progressing',
  /** Ready=False: deletion has begun and waits for what the message says. */
  Deleting: 'Deleting',
  /** Any condition=Unknown: it could not be found out, see message; tried again with backoff. */
  Error: 'Error',

  /** ShardsAssigned=True. */
  Assigned: 'Assigned',
  /** ShardsAssigned=False, Ready=False: there are fewer shards than the AgentGroup asks for. */
  NoShard: 'NoShard',

  /** CredentialsFound=True, McpCredentialsFound=True, RefsResolved=True: what is named exists. */
  Found: 'Found',
  /** CredentialsFound=False, Ready=False; McpCredentialsFound=False: the Secret does not exist. */
  SecretMissing: 'SecretMissing',
  /** CredentialsFound=False, Ready=False; McpCredentialsFound=False: the Secret lacks a key. */
  SecretKeyMissing: 'SecretKeyMissing',
  /** WithinBudget=True: more than a fifth is left. */
  BudgetLeft: 'BudgetLeft',
  /** WithinBudget=True: four fifths or more are used. */
  BudgetLow: 'BudgetLow',
  /** WithinBudget=False: it is used up; the message says until when. */
  BudgetExhausted: 'BudgetExhausted',
  /** RefsResolved=False, Ready=False (an AgentGroup stays ready): an object that is named does not exist. */
  ReferenceMissing: 'ReferenceMissing',

  /** Connected=True. */
  Connected: 'Connected',
  /** Connected=Unknown: the first attempt is on its way. */
  Connecting: 'Connecting',
  /** Connected=False: the connection is lost; it is being made anew. */
  Disconnected: 'Disconnected',
  /** Connected=False, Ready=False: the platform refuses the credentials. Until the Secret or the spec changes. */
  Unauthorized: 'Unauthorized',
  /** Ready=False: another Channel holds the same account. */
  Conflict: 'Conflict',

  /** Active=True, Ready=True: the runner of the session is attached. */
  Awake: 'Awake',
  /** Active=False, Ready=True: no Pod, and none is needed. */
  Asleep: 'Asleep',
  /** Active=Unknown, Ready unchanged: its Pod is being started. */
  Waking: 'Waking',
  /** Active=Unknown, Ready unchanged: it finishes what it does, then sleeps. */
  Draining: 'Draining',
  /** Active=False, Ready=True: kept asleep by spec.suspended. */
  Suspended: 'Suspended',
  /** Ready=False: the Pod failed for a reason that has no word of its own; status.lastExit has it. */
  PodFailed: 'PodFailed',
  /** Ready=False: the runner exceeded its memory limit. */
  OOMKilled: 'OOMKilled',
  /** Ready=False: the Pod could not write, because the node's or the Pod's own disk is full. */
  DiskFull: 'DiskFull',
  /** Ready=False: the node removed the Pod to save itself. */
  Evicted: 'Evicted',
  /** Ready=False: the Pod fails each time it is started; the next start waits. */
  CrashLooping: 'CrashLooping',
  /** Ready=False: no node can take the Pod. */
  Unschedulable: 'Unschedulable',
  /** Ready=False: the image cannot be had. */
  ImagePull: 'ImagePull',
  /** Ready=False: the runtime class has a kernel of its own, under which two sides cannot share a cell's files. */
  RuntimeRefused: 'RuntimeRefused',
  /** Ready=False, on Session: its AgentGroup has no credentials for its provider (see its CredentialsFound), so no Pod is started. */
  CredentialsMissing: 'CredentialsMissing',
  /** Ready=False: the runner refuses its configuration, or the version of its files. Its Pod is removed; status.refused says when the next is tried. */
  RunnerRefused: 'RunnerRefused',
  /** Ready=False, Active=Unknown: the node of its Pod does not answer; no second Pod is started while the first may live. */
  NodeLost: 'NodeLost',

  /** StorageOk=True. */
  Writable: 'Writable',
  /** StorageOk=False, Ready=False: the session stores more than it may. */
  QuotaExceeded: 'QuotaExceeded',
  /** StorageOk=False, Ready=False: the volume of the shard is full. */
  VolumeFull: 'VolumeFull',
  /** StorageOk=False, Ready=False: outbound.db is not what a runner of ours writes, and nothing is read from it. */
  OutboundRefused: 'OutboundRefused',
  /** StorageOk=False, Ready=False: the cell is gone from the volume. */
  CellMissing: 'CellMissing',
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];
