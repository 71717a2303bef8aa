import org.jets3t.service.CloudFrontService;
import org.jets3t.service.model.cloudfront.DistributionConfig;
import org.jets3t.service.model.cloudfront.StreamingDistribution;

/** jets3t 0.7.2 (API 2009-12-01): five values, the origin a plain string. */
final class Calls {
    private final CloudFrontService service;

    Calls(CloudFrontService service) {
        this.service = service;
    }

    StreamingDistribution create(Driver.Wanted w) throws Exception {
        return service.createStreamingDistribution(w.bucket, w.reference, w.cnames, w.comment, w.enabled);
    }

    DistributionConfig update(String id, Driver.Wanted w) throws Exception {
        return service.updateStreamingDistributionConfig(id, w.cnames, w.comment, w.enabled);
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
