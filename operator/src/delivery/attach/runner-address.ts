/** What a runner may say of where it listens: a gRPC target may also name a socket file or a name service. */
export const RUNNER_ADDRESS = /^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):\d{1,5}$/;
