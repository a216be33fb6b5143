import type { PathJail } from '@dovecote/proto';
import type { Clock } from '../lifecycle/clock.ts';
import type { Log } from '../lifecycle/log.ts';
import { DemoProvider } from './demo/demo.ts';
import { type Provider, ProviderError } from './provider.ts';

export interface RegistryDeps {
  readonly clock: Clock;
  /** base URL of the proxy */
  readonly proxy: string | undefined;
  /** file with the token for the proxy */
  readonly proxyToken: string | undefined;
  /** where attachments are read */
  readonly files: PathJail;
  readonly log: Log;
}

/** Finds providers by name and makes each once. Throws ProviderError NotConfigured. */
export function providerRegistry(deps: RegistryDeps): (name: string) => Promise<Provider> {
  const made = new Map<string, Promise<Provider>>();
  return (name) => {
    const known = made.get(name);
    if (known !== undefined) return known;
    const provider = make(name, deps);
    made.set(name, provider);
    provider.catch(() => made.delete(name)); // told to whoever asked; the next turn may find it set up
    return provider;
  };
}

async function make(name: string, deps: RegistryDeps): Promise<Provider> {
  switch (name) {
    case 'demo':
      return new DemoProvider({ clock: deps.clock, crash: () => process.kill(process.pid, 'SIGKILL') });
    case 'anthropic': {
      if (deps.proxy === undefined || deps.proxyToken === undefined)
        throw ProviderError.permanent('NotConfigured', 'the anthropic provider needs --proxy and --proxy-token');
      // Loaded only when used: it is half of the start-up time.
      const { AnthropicProvider } = await import('./anthropic/anthropic.ts');
      return new AnthropicProvider({ ...deps, proxy: deps.proxy, tokenFile: deps.proxyToken });
    }
    default:
      throw ProviderError.permanent('NotConfigured', `there is no provider named ${name}`);
  }
}
