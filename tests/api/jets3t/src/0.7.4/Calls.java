import org.jets3t.service.CloudFrontService;
import org.jets3t.service.model.cloudfront.DistributionConfig;
import org.jets3t.service.model.cloudfront.LoggingStatus;
import org.jets3t.service.model.cloudfront.StreamingDistribution;

/** jets3t 0.7.4 (API 2010-06-01): logging, an identity and signers too; the origin still a plain string. */
final class Calls {
    private final CloudFrontService service;

    Calls(CloudFrontService service) {
        this.service = service;
    }

    StreamingDistribution create(Driver.Wanted w) throws Exception {
        return w.more
                ? service.createStreamingDistribution(
                        w.bucket, w.reference, w.cnames, w.comment, w.enabled, logging(w), w.identity, w.self, w.signers)
                : service.createStreamingDistribution(w.bucket, w.reference, w.cnames, w.comment, w.enabled, null);
    }

    DistributionConfig update(String id, Driver.Wanted w) throws Exception {
        return w.more
                ? service.updateStreamingDistributionConfig(id, w.cnames, w.comment, w.enabled, logging(w), w.identity, w.self, w.signers)
                : service.updateStreamingDistributionConfig(id, w.cnames, w.comment, w.enabled, null);
    }

    private static LoggingStatus logging(Driver.Wanted w) {
        return w.logBucket == null ? null : new LoggingStatus(w.logBucket, w.logPrefix);
    }

    String origin(StreamingDistribution one) {
        return one.getOrigin();
    }

    String origin(DistributionConfig config) {
        return config.getOrigin();
    }

    String identity(DistributionConfig config) {
        return config.getOriginAccessIdentity();
    }
}
