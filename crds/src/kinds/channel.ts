import { z } from 'zod';
import { condition, kind, type ManifestOf, type ResourceOf } from '../kind.ts';
import { byteSize, httpUrl, immutable, NAME_MAX, secretName, status, text, time, union } from '../schema.ts';

const Slack = z.object({
  mode: z.enum(['Webhook', 'Socket']).default('Webhook').describe('Whether Slack calls us, or we hold a connection to it (Socket Mode).'),
  apiURL: httpUrl().optional().describe('The Web API, for an emulator; the public one when absent.'),
  credentialsRef: secretName().describe('A Secret with the keys bot-token and signing-secret (Webhook) or app-token (Socket).'),
});
const Telegram = z.object({
  mode: z.enum(['Webhook', 'Poll']).default('Webhook').describe('Whether Telegram calls us, or we ask for updates.'),
  apiURL: httpUrl().optional().describe('The Bot API, for an emulator or a server of your own; the public one when absent.'),
  credentialsRef: secretName().describe('A Secret with the keys bot-token and webhook-secret (Webhook).'),
});

/** One account on one platform. */
export const Channel = kind('Channel', 'channels', {
  description: 'One account on one platform: how to reach it and where its credentials are.',
  shortNames: ['ch'],
  nameMax: NAME_MAX,
  columns: [
    ['Type', 'string', '.spec.type'],
    ['Account', 'string', '.status.account'],
    ['Connected', 'string', condition('Connected')],
    ['Ready', 'string', condition('Ready')],
    ['Reason', 'string', condition('Ready', 'reason'), 1],
  ],
  selectable: ['.spec.type'],
  spec: union(
    z.object({
      type: immutable(z.enum(['local', 'slack', 'telegram'])).describe('The platform.'),
      local: z.object({}).optional().describe('The built-in web chat, which has no settings.'),
      slack: Slack.optional().describe('A Slack app in one workspace.'),
      telegram: Telegram.optional().describe('A Telegram bot.'),
      inDoubt: z
        .enum(['Resend', 'DeadLetter'])
        .default('Resend')
        .describe(
          'What happens to a message whose delivery can be neither confirmed nor denied: sent again (perhaps twice) or set aside (perhaps never).',
        ),
      rateLimit: z
        .object({
          perSecond: z.int32().min(1).max(1000).describe('Calls a second, on average.'),
          burst: z.int32().min(1).max(10000).optional().describe('Calls at once; perSecond when absent.'),
        })
        .optional()
        .describe("How fast we call the platform; the platform's own rule when absent."),
      maxAttachmentBytes: byteSize().default('25Mi').describe('The largest attachment that is taken or sent.'),
    }),
    'type',
    ['local', 'slack', 'telegram'],
    ['slack', 'telegram'],
  ),
  status: status({
    account: text(256).optional().describe('Who we are on the platform.'),
    path: text(256).optional().describe('The path of the webhook on the gateway.'),
    connectedSince: time().optional().describe('When the present connection was made.'),
  }),
});
export type Channel = ResourceOf<typeof Channel>;
export type ChannelManifest = ManifestOf<typeof Channel>;
export type ChannelSpec = z.infer<typeof Channel.spec>;
export type ChannelSpecInput = z.input<typeof Channel.spec>;
export type ChannelStatus = z.infer<typeof Channel.status>;
