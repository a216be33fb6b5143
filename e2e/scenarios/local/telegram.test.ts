import { expect } from '@jest/globals';
import { TelegramEmulator } from '../../emulators/telegram.ts';
import { LocalMode } from '../../harness/local-mode.ts';
import { demoAgent, manifest, secret } from '../../harness/objects.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const scenery = stage(async () => {
  const telegram = await TelegramEmulator.start('127.0.0.1');
  const house = await LocalMode.start({
    manifests: {
      ...secret('bot', { 'bot-token': telegram.botToken }),
      ...manifest('Channel', 'tg', {
        type: 'telegram',
        telegram: { mode: 'Poll', apiURL: telegram.apiUrl, credentialsRef: { name: 'bot' } },
      }),
      ...demoAgent('helper'),
      ...manifest('MessagingGroup', 'tg', {
        channelRef: 'tg',
        chatClass: 'Direct',
        unknownSenders: 'Public',
        agents: [{ agentGroupRef: 'helper', engage: { mode: 'Always' } }],
      }),
    },
  });
  return {
    telegram,
    house,
    dispose: async () => {
      await house.dispose();
      void telegram.close();
    },
  };
});

verifies(
  'chan/telegram',
  'a person writes to the bot, which polls: answered in the chat, Markdown as HTML, killed and started again without loss or repetition',
  async () => {
    const { telegram, house } = scenery.it;
    await telegram.say(41, 'remember teal');
    await telegram.answer(41, 'I will remember: teal');
    await telegram.say(42, 'say **bold** & <odd>');
    await telegram.answer(42, '<b>bold</b> &amp;');
    await house.stop('SIGKILL');
    await telegram.say(41, 'recall');
    await house.start();
    await telegram.answer(41, 'I remember: teal');
    expect(telegram.replies(41)).toHaveLength(2);
    expect(house.files.sessions()).toHaveLength(2);
  },
  PATIENT_MS,
);

verifies(
  'chan/telegram',
  'buttons: one that is pressed is the answer, the message then says so and has none; pressed again it changes nothing',
  async () => {
    const { telegram, house } = scenery.it;
    await telegram.say(
      44,
      'tool ask_user_question {"title":"Colour","question":"Which <one>?","options":["Red","Blue"]}\nsay done: {result}',
    );
    await telegram.answer(44, 'Which &lt;one&gt;?');
    expect(telegram.buttons(44)).toEqual(['Red', 'Blue']);
    await Promise.all([telegram.press(44, 'Blue'), telegram.press(44, 'Blue')]);
    await telegram.answer(44, 'chose: Blue');
    await telegram.answer(44, '✓ <b>Blue</b> (Alice)');
    expect(telegram.buttons(44)).toEqual([]);
    const session = house.files.find('tg/44') ?? '';
    const answers = house.files.messages(session).filter(({ content: stored }) => stored.includes('questionSeq'));
    expect(answers).toMatchObject([{ lane: 'control', sender: '44', sender_name: 'Alice' }]);
  },
  PATIENT_MS,
);

verifies(
  'route/reply-context',
  'a message that answers another one brings its words to the model, with the number under which the model knows it',
  async () => {
    const { telegram, house } = scenery.it;
    await telegram.say(43, 'say hello 43', {});
    await telegram.answer(43, 'hello 43');
    const session = house.files.find('tg/43') ?? '';
    const own = house.files.ledger(session)[0];
    const from = { id: 9, first_name: 'Bob', is_bot: false };
    const chat = { id: 43, type: 'private', first_name: 'Alice' };
    await telegram.say(43, 'say about that', { reply_to_message: { message_id: 777, date: 1, chat, from, text: 'the words of Bob' } });
    await telegram.answer(43, 'about that');
    await telegram.say(43, 'say about yours', {
      reply_to_message: { message_id: Number(own?.platform_message_id), date: 1, chat, from, text: 'hello 43' },
    });
    await telegram.answer(43, 'about yours');
    const read = house.files
      .history(session)
      .filter(({ role }) => role === 'user')
      .map(({ content }) => content)
      .join();
    expect(read).toContain('<quoted_message from=\\"Bob\\">the words of Bob</quoted_message>');
    expect(read).toContain(`id=\\"${own?.seq}\\">hello 43</quoted_message>`);
  },
  PATIENT_MS,
);
