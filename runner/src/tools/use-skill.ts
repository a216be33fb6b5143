import { z } from 'zod';
import type { Skills } from '../skills/skills.ts';
import { defineTool, type Tool, ToolError } from './tool.ts';

/** Offered only while there are skills. */
export function useSkill(skills: Skills): Tool {
  return defineTool({
    name: 'use_skill',
    description:
      'Returns the whole text of a skill by its name. Read it before you begin work that its description fits, and follow it. ' +
      'With `file`, another file of the skill that its text names.',
    input: z.object({
      name: z.string().min(1).max(64).describe('The name of the skill, as in the list of skills.'),
      file: z
        .string()
        .min(1)
        .max(1024)
        .optional()
        .describe("A file's path inside the skill's folder; SKILL.md without its head when absent."),
    }),
    permission: 'always',
    repeatable: true,
    async run({ name, file }) {
      const skill = skills.list.find((one) => one.name === name);
      if (skill === undefined) {
        const left = skills.problems.length === 0 ? '' : ` These could not be taken: ${skills.problems.join(' ')}`;
        throw new ToolError(`There is no skill named ${name}. There are: ${skills.list.map((one) => one.name).join(', ')}.${left}`);
      }
      if (file !== undefined) return skills.readFile(skill, file);
      return skill.body === '' ? '(The skill has no text beside its description.)' : skill.body;
    },
  });
}
