/** What each role is told on its command line, as commander hands it over. Parsed nowhere else. */
import type { Peer } from '../controller/config.ts';

export interface RoleFlags {
  logLevel: string;
  health: string;
  install: string;
  replica: string;
  namespace?: string;
  kubeconfig?: string;
  tokens: string;
  crashAt?: string;
}

export interface ControllerFlags {
  shards: string;
  runnerImage: string;
  runnerImagePullPolicy: string;
  runnerImagePullSecrets: string;
  runnerResources: { readonly requests?: Record<string, string>; readonly limits?: Record<string, string> };
  runnerPriorityClass?: string;
  runnerTolerations: readonly Readonly<Record<string, string | number>>[];
  ownKernelRuntimeClasses?: string;
  deliveryAddress: string;
  proxyUrl: string;
  claim: string;
  networkPolicies: boolean;
  dns?: readonly Peer[];
}

export interface GatewayFlags {
  http: string;
  grpc: string;
  deliveryAddress: string;
  publicUrl?: string;
  trustProxy?: boolean;
}

export interface DeliveryFlags {
  shard?: string;
  root: string;
  listen: string;
  gateway: string;
  maxAwake: number;
  orphanWait: string;
  trashRetention: string;
}

export interface ProxyFlags {
  listen: string;
  deliveryAddress: string;
}

type OfRole<F> = { readonly role: string } & RoleFlags & F;
export type ControllerOptions = OfRole<ControllerFlags>;
export type GatewayOptions = OfRole<GatewayFlags>;
export type DeliveryOptions = OfRole<DeliveryFlags>;
export type ProxyOptions = OfRole<ProxyFlags>;
