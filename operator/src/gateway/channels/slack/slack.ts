/** Slack: events over HTTP or Socket Mode, answers over the Web API. */
import { TerminalError } from '../../../lib/errors.ts';
import { escapeText, MRKDWN } from '../../render/mrkdwn.ts';
import type { ChannelType, ConnectedChannel, ConnectOptions, IncomingAttachment, IncomingEvent } from '../channel.ts';
import { credential } from '../credential.ts';
import { SlackApp } from './bolt-app.ts';
import { deliver, remove } from './deliver.ts';
import { SlackDirectory } from './directory.ts';
import { parseMessageEvent, type SlackFile, type SlackSelf } from './events.ts';
import { fromSlackConnect } from './from-slack.ts';
import { INFO } from './info.ts';
import { type BlockActions, pressesOf } from './presses.ts';
import { settle } from './settle.ts';
import { listenToSocket } from './socket.ts';
import { clientOptions, webClient, within } from './web-api.ts';
import { receiveWebhook } from './webhook.ts';

/** chat.update is of tier 3: fifty a minute, of all chats together, and more for a short while. */
const PREVIEW_EVERY_MS = 1_200;

export const slack: ChannelType = { info: INFO, connect };

async function connect(options: ConnectOptions, signal: AbortSignal): Promise<ConnectedChannel> {
  const { name, spec, credentials, clock, log, onOwnMessage } = options;
  const settings = spec.slack;
  if (settings === undefined) throw new TerminalError('Invalid', `cannot connect channel ${name}: spec.slack is missing`);
  const token = credential(credentials, 'bot-token', name);
  const apiOptions = clientOptions(settings.apiURL, log);
  const client = webClient(token, apiOptions);
  const socketToken = settings.mode === 'Socket' ? credential(credentials, 'app-token', name) : undefined;
  const signingSecret = settings.mode === 'Webhook' ? credential(credentials, 'signing-secret', name) : undefined;

  const whoAmI = async (within_: AbortSignal): Promise<SlackSelf & { readonly team: string }> => {
    try {
      const { user_id = '', bot_id = '', user = '', team = '' } = await within(within_, () => client.auth.test());
      return { userId: user_id, botId: bot_id, name: user, team };
    } catch (thrown) {
      throw fromSlackConnect('verify the bot token', thrown);
    }
  };
  const self = await whoAmI(signal);
  const directory = new SlackDirectory(client, clock);
  const app = new SlackApp({
    token,
    self,
    clientOptions: apiOptions,
    log,
    parse: (event, eventId) =>
      parseMessageEvent(event, {
        channel: name,
        self,
        eventId,
        nameOf: (user) => directory.name(user),
        attachment: (file) => attachmentOf(file, token, settings.apiURL),
        onOwnMessage,
      }),
  });
  const parse = (body: Record<string, unknown>): Promise<readonly IncomingEvent[]> => app.events(body);
  const parsePress = (press: BlockActions): Promise<readonly IncomingEvent[]> =>
    pressesOf(press, { channel: name, nameOf: (user) => directory.name(user) });

  return {
    info: INFO,
    account: `@${self.name} in ${self.team}`,
    dialect: MRKDWN,
    ...(signingSecret !== undefined && {
      webhook: (call) => receiveWebhook(call, { signingSecret, now: () => clock.now(), log, parse, parsePress }),
    }),
    ...(socketToken !== undefined && {
      listen: (sink, until, up) =>
        listenToSocket({ appToken: socketToken, clientOptions: apiOptions, clock, log, parse, parsePress }, sink, until, up),
    }),
    verify: async (until) => {
      const now = await whoAmI(until);
      if (now.userId !== self.userId) throw new Error(`the bot token is now that of ${now.name}, not of ${self.name}`);
    },
    deliver: (delivery, until) => deliver(client, delivery, until),
    settle: (question, until) => settle(client, self, question, until),
    respond: async ({ chat, thread, sender }, { sentence, shown }, until) => {
      if (shown) return;
      await within(until, () =>
        client.chat.postEphemeral({ channel: chat, user: sender, text: escapeText(sentence), ...(thread !== '' && { thread_ts: thread }) }),
      );
    },
    preview: {
      everyMs: () => PREVIEW_EVERY_MS,
      remove: (chat, messageId, until) => remove(client, chat, messageId, until),
    },
    typing: async () => {}, // Slack has none for apps in channels
    close: async () => {}, // every call is a request of its own
  };
}

/** The token goes to Slack's own hosts alone, whatever address an event names. */
function attachmentOf(file: SlackFile, token: string, apiUrl: string | undefined): IncomingAttachment {
  const name = file.name ?? file.title ?? file.id;
  return {
    name,
    mimeType: file.mimetype ?? 'application/octet-stream',
    sizeBytes: file.size ?? 0,
    open: async (signal) => {
      const address = file.url_private_download ?? file.url_private ?? '';
      if (!URL.canParse(address)) throw new Error('Slack gives no address for it');
      const url = new URL(address);
      const ours =
        apiUrl === undefined
          ? url.protocol === 'https:' && /(^|\.)slack\.com$|(^|\.)slack-files\.com$/.test(url.hostname)
          : url.origin === new URL(apiUrl).origin;
      if (!ours) throw new Error(`it is kept outside of Slack, at ${url.hostname}`);
      const response = await fetch(url, { headers: { authorization: `Bearer ${token}` }, signal });
      // Without the scope files:read Slack answers with a page to sign in.
      if (
        !response.ok ||
        response.body === null ||
        (response.headers.get('content-type') ?? '').startsWith('text/html') !== (file.mimetype === 'text/html')
      ) {
        await response.body?.cancel();
        throw new Error(response.ok ? 'the app lacks the scope files:read' : `HTTP ${response.status}`);
      }
      return response.body;
    },
  };
}
