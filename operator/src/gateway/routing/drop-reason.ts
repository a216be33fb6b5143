/** Why an event reached nobody, or not one of the agents of its chat. Written with the drop; `dovecote why` shows it. */
export const DropReason = {
  /** No MessagingGroup names this chat, nor its class. */
  Unwired: 'Unwired',
  /** A MessagingGroup matches, and names no agent. */
  NoAgents: 'NoAgents',
  /** The sender is not known here, and the MessagingGroup lets in known senders only (unknownSenders: Strict). */
  SenderUnknown: 'SenderUnknown',
  /** The sender is a bot that is not known here: two bots that answer each other never end. */
  SenderIsBot: 'SenderIsBot',
  /** This agent hears known senders only (senderScope: Known). */
  SenderOutOfScope: 'SenderOutOfScope',
  /** The agent is not engaged by this message (no mention, no match), and what does not engage it is dropped. */
  NotEngaged: 'NotEngaged',
  /** As NotEngaged; silent context is kept of known senders only. */
  NotEngagedUnknownSender: 'NotEngagedUnknownSender',
  /** The pattern of the wiring cannot be compiled: it engages on nothing until it is mended. */
  PatternInvalid: 'PatternInvalid',
  /** The AgentGroup that the wiring names does not exist. */
  AgentMissing: 'AgentMissing',
  /** A button was pressed of a question that is not in that chat, or that never had such an option. */
  QuestionUnknown: 'QuestionUnknown',
  /** Delivery refused the event: the session is suspended, or the event has bad form. Its sentence is in `detail`. */
  InboxRefused: 'InboxRefused',
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];
