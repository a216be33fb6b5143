/** The contract of operator/src/kube on this very API server, whose definitions Helm applied and kubectl would not change (crds-apply). */
process.env['KUBECONFIG_UNDER_TEST'] ??= process.env['KUBECONFIG'];
await import('../../../operator/src/kube/api-server.test.ts');

export {};
