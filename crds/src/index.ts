// The contract with the cluster. Imports nothing of ours; everything that reads or writes a custom resource imports this.
export { type Admission, admit, admitStatus } from './admit.ts';
export { byteCount } from './byte-count.ts';
export { ConditionType, Reason } from './conditions.ts';
export { crd } from './crd.ts';
export { durationMs } from './duration.ts';
export { compileEngagePattern } from './engage-pattern.ts';
export { type Failure, type FailureType, invalidMessage } from './failure.ts';
export {
  API_VERSION,
  GROUP,
  type Kind,
  type Manifest,
  type ManifestMeta,
  type ManifestOf,
  type ObjectMeta,
  type OwnerReference,
  ParseError,
  parse,
  parseSpec,
  type Resource,
  type ResourceOf,
  VERSION,
} from './kind.ts';
export {
  AgentGroup,
  type AgentGroupManifest,
  type AgentGroupSpec,
  type AgentGroupSpecInput,
  type AgentGroupStatus,
} from './kinds/agent-group.ts';
export { Channel, type ChannelManifest, type ChannelSpec, type ChannelSpecInput, type ChannelStatus } from './kinds/channel.ts';
export {
  Destination,
  type DestinationManifest,
  type DestinationSpec,
  type DestinationSpecInput,
  type DestinationStatus,
} from './kinds/destination.ts';
export {
  MessagingGroup,
  type MessagingGroupManifest,
  type MessagingGroupSpec,
  type MessagingGroupSpecInput,
  type MessagingGroupStatus,
  type Wiring,
} from './kinds/messaging-group.ts';
export { Session, type SessionManifest, type SessionSpec, type SessionSpecInput, type SessionStatus } from './kinds/session.ts';
export { QUANTITY_UNITS } from './quantity-units.ts';
export type { Condition } from './schema.ts';

import type { Kind } from './kind.ts';
import { AgentGroup } from './kinds/agent-group.ts';
import { Channel } from './kinds/channel.ts';
import { Destination } from './kinds/destination.ts';
import { MessagingGroup } from './kinds/messaging-group.ts';
import { Session } from './kinds/session.ts';

/** All kinds. A new kind is a file under kinds/ and a line here. */
export const kinds: readonly Kind[] = [AgentGroup, Channel, MessagingGroup, Destination, Session];
