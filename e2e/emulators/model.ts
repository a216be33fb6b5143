/** The Anthropic Messages API as `@copilotkit/aimock` plays it (not ours): streamed answers by what the user said, and faults. */
import { LLMock } from '@copilotkit/aimock';

export class ModelEmulator {
  readonly mock: LLMock;
  readonly #host: string;

  private constructor(mock: LLMock, host: string) {
    this.mock = mock;
    this.#host = host;
  }

  /** Listens on `host` alone. With `apiKey` it answers 401 to whoever shows another. */
  static async start(host: string, apiKey?: string): Promise<ModelEmulator> {
    const mock = new LLMock({ host, port: 0, ...(apiKey !== undefined && { auth: { apiKeys: [apiKey] } }) });
    await mock.start();
    return new ModelEmulator(mock, host);
  }

  /** As AgentGroup.spec.provider.anthropic.baseURL takes it. */
  get baseURL(): string {
    return `http://${this.#host}:${this.mock.port}`;
  }

  async close(): Promise<void> {
    await this.mock.stop();
  }
}
