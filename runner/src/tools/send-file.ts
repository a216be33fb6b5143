import { safeFileName } from '@dovecote/proto';
import { z } from 'zod';
import { addressee } from './addressee.ts';
import { mimeTypeOf } from './mime-type.ts';
import { defineTool, pathField } from './tool.ts';

export const sendFile = defineTool({
  name: 'send_file',
  description: 'Sends a file of the session at once: to a destination by name, or without `to` to the chat you are answering.',
  input: z.object({
    path: pathField('The file, relative to the workspace or absolute.'),
    to: z.string().min(1).max(128).optional().describe('The name of a destination; the chat you are answering when absent.'),
    name: z.string().min(1).max(200).optional().describe('The name people see; that of the file when absent.'),
    text: z.string().max(20_000).optional().describe('A sentence that goes with it.'),
  }),
  permission: 'always',
  repeatable: true, // the row's id is the call's: a second run finds it
  async run({ path, to, name, text }, context) {
    const before = context.written(context.rowId);
    if (before !== undefined) return `Sent as message ${before}.`;
    const target = addressee(to, context);
    const shownName = safeFileName(name ?? context.files.resolve(path).parts.at(-1) ?? 'file');
    const staged = context.outboxFiles.stage(context.files, path, shownName);
    const seq = context.send({
      id: context.rowId,
      kind: 'file',
      ...target,
      content: (rowSeq: number) => ({
        path: staged.place(rowSeq),
        name: shownName,
        mimeType: mimeTypeOf(shownName),
        sizeBytes: staged.sizeBytes,
        ...(text === undefined ? {} : { text }),
      }),
    });
    return `Sent as message ${seq} (${staged.sizeBytes} bytes).`;
  },
});
