/** The Anthropic Messages API as `@copilotkit/aimock` plays it (not ours): streamed answers by what the user said, and faults. */
import { LLMock } from '@copilotkit/aimock';

export class ModelEmulator {
  readonly mock: LLMock;
  readonly #host: string;

  private constructor(mock: LLMock, host: string) {
    this.mock = mock;
    this.#host = host;
  }

  /** Listens on `host` alone. */
  static async start(host: string): Promise<ModelEmulator> {
    const mock = new LLMock({ host, port: 0 });
    await mock.start();
    return new ModelEmulator(mock, host);
  }

  /** As AgentGroup.spec.provider.anthropic.baseURL takes it. */
  get baseURL(): string {
    return `http://${this.#host}:${this.mock.port}`;
  }

  /** Header values of the requests that came, by name; names in lower case. */
  headers(name: string): readonly string[] {
    return this.mock.getRequests().map((entry) => String((entry.headers as Record<string, unknown>)[name] ?? ''));
  }

  async close(): Promise<void> {
    await this.mock.stop();
  }
}
