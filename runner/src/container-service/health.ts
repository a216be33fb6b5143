import { containerService, health } from '@dovecote/proto';
import { type ServiceError, status } from '@grpc/grpc-js';

const { SERVING } = health.HealthCheckResponse_ServingStatus;
const { SERVICE_UNKNOWN } = health.HealthCheckResponse_ServingStatus;
/** The service's full name, from the path of one of its methods. */
const CONTAINER_SERVICE = containerService.ContainerServiceService.stat.path.split('/')[1] ?? '';

/** The standard health protocol. A process that answers serves: there is nothing behind it that could be missing. */
export const healthHandlers: health.HealthServer = {
  check: ({ request }, callback) => {
    if (known(request.service)) callback(null, { status: SERVING });
    else callback({ code: status.NOT_FOUND, details: `there is no service ${request.service}` } as ServiceError);
  },
  // It never changes while the process lives: one message, and then the stream stays open until either side leaves.
  watch: (call) => {
    call.write({ status: known(call.request.service) ? SERVING : SERVICE_UNKNOWN });
  },
};

function known(service: string): boolean {
  return service === '' || service === CONTAINER_SERVICE;
}
