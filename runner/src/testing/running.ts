/** Cells and runners that are removed after each test. For tests only. */
import { TestCell } from './cell.ts';
import { RunnerProcess } from './runner-process.ts';

export class Running {
  readonly #cells: TestCell[] = [];
  readonly #runners: RunnerProcess[] = [];

  cell(options: ConstructorParameters<typeof TestCell>[0] = {}): TestCell {
    const cell = new TestCell(options);
    this.#cells.push(cell);
    return cell;
  }

  start(cell: TestCell, extra: readonly string[] = []): RunnerProcess {
    const runner = new RunnerProcess(cell, extra);
    this.#runners.push(runner);
    return runner;
  }

  async close(): Promise<void> {
    for (const runner of this.#runners.splice(0)) {
      runner.kill('SIGKILL');
      await runner.ended;
    }
    for (const cell of this.#cells.splice(0)) cell.remove();
  }
}
