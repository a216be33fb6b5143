/**
 * What the scenarios are told, beside KUBECONFIG and a PATH with kubectl and helm:
 * HOST_IP               the address of this machine at which Pods reach what listens on it
 * NODE_IP               the address of a node, for NodePorts
 * CLUSTER_STATE         folder of a cluster of hack/cluster; absent for any other
 * CLUSTER_NODE          name of kind's container; absent for any other
 * CLUSTER_AUDIT_LOG     the API server's audit log; absent when nobody can read it
 * DOVECOTE_OPERATOR_IMAGE, DOVECOTE_RUNNER_IMAGE
 */
export type ClusterEnv = Record<string, string>;
/** Gives `run` a cluster, and takes it away when `run` has ended or someone interrupts. Answers with what `run` answers. */
export declare function withCluster(run: (env: ClusterEnv) => Promise<number>): Promise<number>;
